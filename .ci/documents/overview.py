# SPDX-License-Identifier: Apache-2.0
"""Benches, ready configurations, hooks for plugins, and markers of tests."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable

from .text import block, code, first_sentence, sentence, table
from .tree import ROOT, plugins, project


@block
def benches() -> str:
    """Every bench, with the question that it answers."""
    rows = [
        (f"[{path.name}]({path.name})", first_sentence(ast.get_docstring(ast.parse(path.read_text()))))
        for path in sorted((ROOT / "bench").glob("*.py"))
    ]
    return table(("bench", "what it measures for"), rows)


@block
def configurations() -> str:
    """Every ready configuration, and for whom it is."""
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
def markers() -> str:
    """The markers of tests: what they need, and what may run meanwhile."""
    reported = (marker.partition(": ") for marker in project()["tool"]["pytest"]["ini_options"]["markers"])
    return table(("marker", "meaning"), [(code(name), sentence(what)) for name, _, what in reported])
