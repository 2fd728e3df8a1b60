# SPDX-License-Identifier: Apache-2.0
"""The types that a settings class declares at a location: for suggestions and for finding secrets."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel, SecretBytes, SecretStr

from .yaml_document import Location


def types_at(annotation: Any, location: Location) -> Iterator[type]:
    """The classes that a value at ``location`` below ``annotation`` may have, union members separately."""
    origin = get_origin(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and location:
        field = _fields(annotation).get(str(location[0]))
        yield from types_at(field, location[1:]) if field is not None else ()
    elif isinstance(annotation, type) and origin is None:
        yield from () if location else (annotation,)
    elif isinstance(origin, type) and issubclass(origin, Collection):
        item = [each for each in get_args(annotation) if each is not Ellipsis][-1]
        yield from types_at(item, location[1:]) if location else (origin,)
    else:
        for member in get_args(annotation):
            yield from types_at(member, location)


def known_settings(annotation: Any, location: Location) -> set[str]:
    """The names of the settings that may be written at ``location``."""
    models = (each for each in types_at(annotation, location) if issubclass(each, BaseModel))
    return {name for model in models for name in _fields(model)}


def is_secret_field(annotation: Any, location: Location) -> bool:
    """Whether the setting at ``location`` is declared as a secret."""
    return any(issubclass(each, (SecretStr, SecretBytes)) for each in types_at(annotation, location))


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}
