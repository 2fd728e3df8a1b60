# SPDX-License-Identifier: Apache-2.0
"""Types of plain YAML scalars: like the Collector's YAML library, unlike PyYAML.

YAML 1.2 core with underscores and 0-octals: ``on``, ``12:30:45`` and ``2024-01-01`` are text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import yaml

TAG = "tag:yaml.org,2002:"
"""The prefix of YAML's own type names."""

_INT = r"[-+]?(?:0b[01][01_]*|0x[0-9a-fA-F][0-9a-fA-F_]*|0o[0-7][0-7_]*|0[0-7_]*|[1-9][0-9_]*)"
_FLOAT = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
_MAX_DIGITS = 100  # far above all settings, and far below Python's limit for decimal conversion
_LINE_BREAKS = {"\x85", "\u2028", "\u2029"}
_RESOLVERS = (
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", "true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", _INT, list("-+0123456789")),
    ("float", rf"{_FLOAT}|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", list("-+.0123456789")),
    ("merge", "<<", ["<"]),
)


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own class attribute, replaced on purpose


if yaml.__with_libyaml__:

    class _FastLoader(yaml.composer.Composer, yaml.CSafeLoader):
        """LibYAML's parser below PyYAML's own composer, whose recursion is limited."""

        yaml_implicit_resolvers = Loader.yaml_implicit_resolvers

        def __init__(self, stream: str) -> None:
            yaml.composer.Composer.__init__(self)
            yaml.CSafeLoader.__init__(self, stream)


class _Dumper(yaml.SafeDumper):
    """Quotes text that PyYAML's rules or ours would read back as another type."""


for _name, _pattern, _first in _RESOLVERS:
    for _class in (Loader, _Dumper):
        _class.add_implicit_resolver(TAG + _name, re.compile(rf"(?:{_pattern})\Z"), _first)


def compose(text: str, *, fast: bool = False) -> yaml.Node | None:
    """The nodes of YAML text, None if it has none. Raises yaml.YAMLError and RecursionError.

    ``fast``: with LibYAML, where it is available, ten times faster. It accepts a few things that PyYAML refuses, such
    as a tab within a plain scalar. What it refuses is read again for PyYAML's message, which says more.
    """
    if fast and yaml.__with_libyaml__:
        with suppress(yaml.YAMLError, UnicodeEncodeError):
            return yaml.compose(text, _FastLoader)
    return yaml.compose(text, Loader)


def dump(tree: Any) -> str:
    """Mappings, lists and scalars as YAML, in their order."""
    text = _dumped(tree, as_it_is=True)
    # PyYAML writes Unicode line breaks unescaped, and reads them back as a space
    return _dumped(tree, as_it_is=False) if _LINE_BREAKS & set(text) else text


def _dumped(tree: Any, *, as_it_is: bool) -> str:
    text: str = yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=as_it_is, width=120)
    return text


def _int(text: str) -> int:
    digits = text.replace("_", "")
    if len(digits) > _MAX_DIGITS:
        raise ValueError(text)
    octal = re.fullmatch(r"([-+]?)0([0-7]+)", digits)
    return int(f"{octal[1]}0o{octal[2]}" if octal else digits, 0)


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


SCALARS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": _int,
    "float": _float,
    "bool": _bool,
    "null": lambda _: None,
    "merge": str,
}
"""How the text of a scalar becomes its value, by type; raises ValueError."""
