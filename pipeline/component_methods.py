# SPDX-License-Identifier: Apache-2.0
"""The methods that a component of each kind must have, checked before any data arrives: see `component`."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from types import NoneType
from typing import Any

from .ids import ComponentKind

_NEEDED: Mapping[ComponentKind, Mapping[str, tuple[str, ...]]] = {
    ComponentKind.RECEIVER: {"start": ("consumer",), "shutdown": ()},
    ComponentKind.PROCESSOR: {"process": ("frames",)},
    ComponentKind.EXPORTER: {"export": ("frames",)},
    ComponentKind.EXTENSION: {"start": (), "shutdown": ()},
}
"""Method names and the arguments of each."""
_SENDER = {"encode": ("frames",), "send": ("payload",)}
"""Those of an exporter whose settings are `PushSettings`."""
_OPTIONAL: Mapping[str, tuple[str, ...]] = {"start": (), "shutdown": ()}
_WRONG_TYPES = (bool, bytes, dict, float, int, NoneType, str)


def method_problem(kind: ComponentKind, component: object, *, sends: bool = False) -> str:
    """What is wrong with the methods of a component or of its class; empty if nothing is.

    ``sends``: an exporter that has to be a `Sender` (see `Factory.sends`).
    """
    needed = _SENDER if sends else _NEEDED[kind]
    what = "an exporter with PushSettings" if sends else _a(kind)
    for name, arguments in {**_OPTIONAL, **needed}.items():
        method = getattr(component, name, None)
        if not callable(method):
            if name in needed:
                return f"{what} needs a method {name}({', '.join(arguments)}), and {_name(component)} has none"
        elif problem := _problem(method, arguments, bound=not isinstance(component, type)):
            return f"{_name(component)}.{name} {problem}; {what} has {name}({', '.join(arguments)})"
    return ""


def _a(kind: ComponentKind) -> str:
    return f"{'an' if kind.value.startswith('e') else 'a'} {kind}"


def _name(component: object) -> str:
    return component.__name__ if isinstance(component, type) else type(component).__name__


def _problem(method: Any, arguments: tuple[str, ...], *, bound: bool) -> str:
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):  # written in C: unknown until it is called
        return ""
    try:
        signature.bind(*([] if bound else ["self"]), *arguments)
    except TypeError:
        return f"cannot be called with {len(arguments)} argument{'' if len(arguments) == 1 else 's'}"
    return _wrong_type(method, signature, arguments, bound=bound)


def _wrong_type(method: Any, signature: inspect.Signature, arguments: tuple[str, ...], *, bound: bool) -> str:
    """Annotations that are certainly wrong; types that are not ours may be right."""
    try:
        hints = typing.get_type_hints(method)
    except Exception:  # noqa: BLE001 # what cannot be resolved is left to the type checker
        return ""
    taken = list(signature.parameters)[0 if bound else 1 :][: len(arguments)]
    for name in taken:
        if hints.get(name) in _WRONG_TYPES:
            return f'takes {_shown(hints[name])} as "{name}"'
    if arguments == ("frames",) and method.__name__ == "process":
        answer = hints.get("return", Any)
        return f"returns {_shown(answer)}" if answer in _WRONG_TYPES else ""
    return ""


def _shown(hint: type[Any]) -> str:
    return "None" if hint is NoneType else f"a {hint.__name__}"
