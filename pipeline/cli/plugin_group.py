# SPDX-License-Identifier: Apache-2.0
"""Commands of plugins: entry points named ``command.<name>``, listed and run like the built-in ones."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from functools import cache

import click

from ebpf_sidecar.pipeline.errors import PluginError
from ebpf_sidecar.pipeline.plugins import Plugin, installed_plugins

_PREFIX = "command."


class ExtensibleGroup(click.Group):
    """A command group that plugins extend; built-in commands are never replaced."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted({*super().list_commands(ctx), *_plugins()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command; None if there is none with this name."""
        own, plugin = super().get_command(ctx, cmd_name), _plugins().get(cmd_name)
        return own if own or plugin is None else _command(plugin, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command to run. For a plugin's command, Ctrl-C raises KeyboardInterrupt, so that it can clean up."""
        name, command, rest = super().resolve_command(ctx, args)
        if name in _plugins() and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return name, command, rest


@cache
def _plugins() -> Mapping[str, Plugin]:
    found = installed_plugins().items()
    return {name.removeprefix(_PREFIX): plugin for name, plugin in found if name.startswith(_PREFIX)}


def _command(plugin: Plugin, name: str) -> click.Command:
    """A broken plugin must not break ``--help``: its command explains the problem when it is called."""
    try:
        found = next((command for command in plugin.commands() if command.name == name), None)
        problem = PluginError(
            f'plugin "{plugin.entry.name}" of {plugin.distribution} registers no command "{name}"; '
            "update or remove that package"
        )
    except PluginError as error:
        found, problem = None, error
    return found or _broken(name, problem)


def _broken(name: str, problem: PluginError) -> click.Command:
    def explain(**_: object) -> None:
        raise problem

    arguments: list[click.Parameter] = [click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)]
    settings = {"ignore_unknown_options": True}
    return click.Command(name, settings, explain, arguments, short_help="(cannot be loaded; run it to see why)")
