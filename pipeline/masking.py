# SPDX-License-Identifier: Apache-2.0
"""Keeping secrets out of what is printed: by the settings' types, by the names of keys, and by the look of values."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel

from .fieldtypes import is_secret_field
from .yamltree import Location

MASK = "[REDACTED]"
"""What stands for a secret, as in the Collector's output."""

_NAMES = (
    r"pass(?:word|wd|phrase)?|pwd|secrets?|tokens?|auth(?:orization)?|api[-_]?keys?|access[-_]?keys?|private[-_]?keys?"
    r"|secret[-_]?keys?|credentials?|cookies?"
)
_SECRET_NAME = re.compile(rf"(?:^|[-_.])(?:{_NAMES})$", re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_USER_INFO = re.compile(r"(?<=://)[^/?#\s@]*(?:@[^/?#\s@]*)*(?=@)")
_ASSIGNED = re.compile(rf"(?i)((?<![a-z0-9])(?:[a-z0-9]+[-_.])*(?:{_NAMES})=)[^&;,\s]+")
_SCHEME = re.compile(r"(?i)^(bearer|basic|digest|token)\s+\S.*$", re.DOTALL)


def is_secret(name: str) -> bool:
    """Whether a key of this name holds a secret (``api_key``, ``X-Auth-Token``; not the path ``token_file``)."""
    return _SECRET_NAME.search(_CAMEL.sub("_", name)) is not None


def masked_text(text: str) -> str:
    """``text`` without passwords in URLs, in ``password=…`` and after ``Bearer``."""
    text = _USER_INFO.sub(MASK, text)
    text = _ASSIGNED.sub(rf"\1{MASK}", text)
    return _SCHEME.sub(rf"\1 {MASK}", text)


def masked(tree: Any, *, secret: bool = False) -> Any:
    """A configuration's tree with every secret in it replaced, at any depth."""
    if isinstance(tree, dict):
        named = any(is_secret(str(tree.get(key, ""))) for key in ("name", "key"))  # lists of {name: …, value: …}
        return {
            key: masked(value, secret=secret or is_secret(key) or (named and key == "value"))
            for key, value in tree.items()
        }
    if isinstance(tree, list):
        return [masked(item, secret=secret) for item in tree]
    if tree is None or isinstance(tree, bool):
        return tree  # says only whether there is one
    if secret:
        return MASK
    return masked_text(tree) if isinstance(tree, str) else tree


def masked_by_type(tree: Any, settings: type[BaseModel], at: Location = ()) -> Any:
    """A component's body with each value replaced that its settings class declares as ``SecretStr``."""
    if isinstance(tree, dict):
        return {key: masked_by_type(value, settings, (*at, key)) for key, value in tree.items()}
    if isinstance(tree, list):
        return [masked_by_type(value, settings, (*at, position)) for position, value in enumerate(tree)]
    return MASK if tree is not None and is_secret_field(settings, at) else tree
