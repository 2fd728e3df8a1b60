# SPDX-License-Identifier: Apache-2.0
"""Redacts secrets in output: by the settings' types, by the names of keys, and by the form of values."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from ebpf_sidecar.pipeline.secrets_in_text import REDACTED, is_known_secret, is_secret_name, redacted, redacted_value

from .field_types import is_secret_field
from .yaml_document import Location

__all__ = ["REDACTED", "is_secret_name", "redacted_by_type", "redacted_tree", "redacted_value"]


def redacted_tree(tree: Any, *, secret: bool = False) -> Any:
    """A configuration tree with every secret replaced, at any depth."""
    if isinstance(tree, dict):
        named = any(is_secret_name(str(tree.get(key, ""))) for key in ("name", "key"))  # lists of {name: …, value: …}
        return {
            redacted(key): redacted_tree(value, secret=secret or is_secret_name(key) or (named and key == "value"))
            for key, value in tree.items()
        }
    if isinstance(tree, list):
        return [redacted_tree(item, secret=secret) for item in tree]
    if tree is None or isinstance(tree, bool):
        return tree  # reveals only whether there is one
    if secret or is_known_secret(str(tree)):
        return REDACTED
    return redacted_value(tree) if isinstance(tree, str) else tree


def redacted_by_type(tree: Any, settings: type[BaseModel], at: Location = ()) -> Any:
    """A component's body in which each value declared as ``SecretStr`` is replaced."""
    if isinstance(tree, dict):
        return {key: redacted_by_type(value, settings, (*at, key)) for key, value in tree.items()}
    if isinstance(tree, list):
        return [redacted_by_type(value, settings, (*at, position)) for position, value in enumerate(tree)]
    return REDACTED if tree is not None and is_secret_field(settings, at) else tree
