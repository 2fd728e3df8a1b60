# SPDX-License-Identifier: Apache-2.0
"""What lies in a folder, what can be called, and what a plugin may implement."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from ebpf_sidecar.pipeline.cli.commands import PROGRAM, cli

from .text import block, code, first_sentence, sentence, table
from .tree import ROOT, plugins, project

_HELP_WIDTH = 100


@block
def modules(folder: str) -> str:
    """Every module of a folder, with the first sentence of its docstring."""
    return _listed("module", (ROOT / folder).rglob("*.py"), ROOT / folder)


@block
def tests() -> str:
    """Every file of tests, with what it proves."""
    return _listed("file", (ROOT / "tests").rglob("test_*.py"), ROOT / "tests")


@block
def benches() -> str:
    """Every bench, with the question that it answers."""
    return _listed("bench", (ROOT / "bench").glob("*.py"), ROOT / "bench")


def _listed(title: str, files: Iterator[Path], folder: Path) -> str:
    named = sorted((path.relative_to(folder), path) for path in files)
    rows = [
        (f"[{name}]({name})", first_sentence(ast.get_docstring(ast.parse(path.read_text())))) for name, path in named
    ]
    return table((title, "what it is about"), [row for row in rows if row[1]])


@block
def configurations() -> str:
    """Every ready configuration, with whom it is for."""
    files = sorted((ROOT / "configs").glob("*.yaml"))
    rows = [(f"[{file.name}]({file.name})", file.read_text().partition("\n")[0].removeprefix("# ")) for file in files]
    return table(("file", "for whom"), rows)


@block
def hooks() -> str:
    """Every hook that a plugin may implement, with its signature, as pluggy knows them."""
    _, _, plugin = plugins().all()[0]
    specified = [caller.spec.function for caller in vars(plugin.hooks).values()]
    rows = [(code(_signature(hook)), first_sentence(hook.__doc__)) for hook in specified]
    return table(("hook", "what it does"), rows)


def _signature(hook: Callable[..., object]) -> str:
    signature = inspect.signature(hook)
    shown = signature.replace(parameters=[each for each in signature.parameters.values() if each.name != "self"])
    return f"{hook.__name__}{shown}".replace("'", "")


@block
def commands() -> str:
    """What each command says to ``--help``."""
    context = click.Context(cli)
    found = [(name, cli.get_command(context, name)) for name in cli.list_commands(context)]
    return "\n\n".join(_help(name, command) for name, command in found if command)


def _help(name: str, command: click.Command) -> str:
    parent = click.Context(cli, info_name=PROGRAM, **cli.context_settings)
    context = click.Context(command, parent, info_name=name, terminal_width=_HELP_WIDTH, max_content_width=_HELP_WIDTH)
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    return f"### {name}\n\n```console\n$ {PROGRAM} {name} --help\n{text}\n```"


@block
def make_targets() -> str:
    """Every target of the Makefile, with its comment."""
    found = re.findall(r"^([a-z-]+):.*?## (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return table(("command", "what it does"), [(code(f"make {name}"), sentence(said)) for name, said in found])


@block
def markers() -> str:
    """The markers of tests: what they need, and what may run meanwhile."""
    said = (marker.partition(": ") for marker in project()["tool"]["pytest"]["ini_options"]["markers"])
    return table(("marker", "meaning"), [(code(name), sentence(what)) for name, _, what in said])
