# SPDX-License-Identifier: Apache-2.0
"""The command ``components``: everything that is installed, the broken included."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import click

from .component import ComponentKind
from .errors import PluginError
from .plugins import Plugin, Plugins
from .suggestions import did_you_mean


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of the list. ``error``: why it cannot be used, or empty."""

    kind: str
    type: str
    stability: str
    distribution: str
    version: str
    description: str
    error: str = ""


def components(*, as_json: bool) -> None:
    """Print all installed components as a table or as JSON."""
    found = list(listed(Plugins()))
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found], indent=2, ensure_ascii=False))
        return
    header = ("KIND", "TYPE", "STABILITY", "PACKAGE", "DESCRIPTION")
    rows = [
        (each.kind, each.type, each.stability, f"{each.distribution} {each.version}".strip(), _said(each))
        for each in found
    ]
    click.echo("\n".join(_aligned([header, *rows])))


def listed(plugins: Plugins) -> Iterator[Listed]:
    """Every component and every set of probes, receivers first; what cannot be loaded carries its cause."""
    for kind, type_, plugin in plugins.all():
        yield _component(plugins, kind, type_, plugin)
    for plugin in plugins.others():
        yield _other(plugin)


def _component(plugins: Plugins, kind: ComponentKind, type_: str, plugin: Plugin) -> Listed:
    try:
        factory = plugins.factory(kind, type_)
    except PluginError as error:
        return Listed(kind.value, type_, "broken", *_package(plugin), "", str(error))
    return Listed(kind.value, type_, factory.stability.value, *_package(plugin), factory.description)


def _other(plugin: Plugin) -> Listed:
    """Probes, or an entry point whose name says nothing."""
    kind, _, type_ = plugin.entry.name.partition(".")
    try:
        if kind == "command":
            said = [command.get_short_help_str(60) for command in plugin.commands() if command.name == type_]
            return Listed(kind, type_, "", *_package(plugin), "".join(said))
        if kind != "probes":
            hint = did_you_mean(kind, [*(kind.value for kind in ComponentKind), "command", "probes"])
            raise PluginError(f'entry point "{plugin.entry.name}": unknown kind "{kind}"{hint}')
        names = sorted(path.stem for folder in plugin.probe_folders() for path in folder.glob("*.yaml"))
    except PluginError as error:
        return Listed(kind, type_, "broken", *_package(plugin), "", str(error))
    return Listed(kind, type_, "", *_package(plugin), ", ".join(names))


def _package(plugin: Plugin) -> tuple[str, str]:
    dist = plugin.entry.dist
    return (dist.name, dist.version) if dist else ("unknown", "")


def _said(each: Listed) -> str:
    return " ".join(each.error.split()) if each.error else each.description


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
