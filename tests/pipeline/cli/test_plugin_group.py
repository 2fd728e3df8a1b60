# SPDX-License-Identifier: Apache-2.0
"""Commands of plugins: listed, with help, and run like the built-in ones; broken ones do no harm."""

import subprocess
import sys

import click
import pytest

from ebpf_sidecar.pipeline.cli import plugin_group
from ebpf_sidecar.pipeline.cli.commands import cli, exit_code
from ebpf_sidecar.pipeline.cli.components import list_components
from ebpf_sidecar.pipeline.hooks import hookimpl
from ebpf_sidecar.pipeline.plugins import Plugins, installed_plugins


@click.command()
@click.argument("name")
def greet(name):
    """Say hello.

    Example: ebpf-sidecar greet you
    """
    click.echo(f"hello {name}")
    return 3


class Greets:
    @hookimpl
    def register_commands(self):
        return [greet]


class Raises:
    @hookimpl
    def register_commands(self):
        raise RuntimeError("no terminal")


class Silent:
    @hookimpl
    def register_commands(self):
        return []


@pytest.fixture
def bring(install, monkeypatch):
    """Let the command line see only this plugin under this entry point; the entry."""

    def bring(name, plugin):
        entry = install(name, plugin)
        monkeypatch.setattr(
            plugin_group, "_plugins", lambda: {name.partition(".")[2]: installed_plugins([entry])[name]}
        )
        return entry

    return bring


def test_a_plugins_command_runs_like_our_own(bring, capsys):
    """With its arguments, and its exit code."""
    bring("command.greet", Greets())

    assert 3 == exit_code(["greet", "you"])
    assert "hello you\n" == capsys.readouterr().out
    assert 0 == exit_code(["--help"])
    assert "greet         Say hello." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("plugin", "cause"),
    [
        (Raises(), 'plugin "command.greet" of unknown distribution cannot be loaded: RuntimeError: no terminal'),
        (Silent(), 'plugin "command.greet" of unknown distribution registers no command "greet"'),
    ],
)
def test_a_broken_command_reports_its_cause_when_it_is_called(bring, capsys, plugin, cause):
    """And only then: help and other commands still work."""
    bring("command.greet", plugin)

    assert 2 == exit_code(["greet", "--loud", "you"])
    assert cause in capsys.readouterr().err
    assert 0 == exit_code(["--help"])
    assert "cannot be loaded; run it to see why" in capsys.readouterr().out
    assert 0 == exit_code(["version"])


def test_our_own_commands_cannot_be_replaced(bring, capsys):
    """A plugin with the name of a built-in one is not used."""
    bring("command.version", Raises())

    assert 0 == exit_code(["version"])
    assert "ebpf-sidecar" in capsys.readouterr().out


def test_components_lists_commands_with_their_package(bring):
    """So that users see which package provides them."""
    [good] = list_components(Plugins([bring("command.greet", Greets())]))
    [broken] = list_components(Plugins([bring("command.greet", Raises())]))

    assert ("command", "greet", "", "Say hello.") == (good.kind, good.type, good.error, good.description)
    assert "no terminal" in broken.error


def test_the_self_test_is_installed_and_light():
    """Its help needs neither NumPy nor pydantic."""
    code = (
        "import sys; from ebpf_sidecar.pipeline.cli.commands import exit_code; exit_code(['selftest', '--help']);"
        "print({'numpy', 'pydantic', 'opentelemetry', 'yaml', 'grpc'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "ebpf-sidecar selftest --probe page_cache" in done.stdout
    assert "set()" == done.stdout.splitlines()[-1]
    assert "selftest" in cli.list_commands(click.Context(cli))
