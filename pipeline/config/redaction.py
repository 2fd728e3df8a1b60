# SPDX-License-Identifier: Apache-2.0
"""Keeping secrets out of what is printed: by the settings' types, by the names of keys, and by the look of values."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from ebpf_sidecar.pipeline.secrets_in_text import MASK, is_known, is_secret, masked_text, redacted

from .field_types import is_secret_field
from .yaml_document import Location

__all__ = ["MASK", "is_secret", "masked", "masked_by_type", "masked_text"]


def masked(tree: Any, *, secret: bool = False) -> Any:
    """A configuration's tree with every secret in it replaced, at any depth."""
    if isinstance(tree, dict):
        named = any(is_secret(str(tree.get(key, ""))) for key in ("name", "key"))  # lists of {name: …, value: …}
        return {
            redacted(key): masked(value, secret=secret or is_secret(key) or (named and key == "value"))
            for key, value in tree.items()
        }
    if isinstance(tree, list):
        return [masked(item, secret=secret) for item in tree]
    if tree is None or isinstance(tree, bool):
        return tree  # says only whether there is one
    if secret or is_known(str(tree)):
        return MASK
    return masked_text(tree) if isinstance(tree, str) else tree


def masked_by_type(tree: Any, settings: type[BaseModel], at: Location = ()) -> Any:
    """A component's body with each value replaced that its settings class declares as ``SecretStr``."""
    if isinstance(tree, dict):
        return {key: masked_by_type(value, settings, (*at, key)) for key, value in tree.items()}
    if isinstance(tree, list):
        return [masked_by_type(value, settings, (*at, position)) for position, value in enumerate(tree)]
    return MASK if tree is not None and is_secret_field(settings, at) else tree
