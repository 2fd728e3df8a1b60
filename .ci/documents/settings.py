# SPDX-License-Identifier: Apache-2.0
"""Settings classes as tables: name, type as a user reads it, default as a user writes it, meaning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from ebpf_sidecar.pipeline.settings import Interval, Settings, format_bytes, format_duration

from .text import code, either, sentence, table

Schema = Mapping[str, Any]
_PLAIN = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "null": "null"}
_LIMITS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
_SPANS = {"x-minimum": "at least", "x-maximum": "at most"}
_usual: TypeAdapter[float] = TypeAdapter(Interval)


def settings_table(settings: type[Settings]) -> str:
    """All settings of a class, nested ones with their path as error messages write it."""
    rows = list(settings_rows(settings))
    return table(("setting", "type", "default", "meaning"), rows) if rows else "No settings."


def settings_rows(settings: type[Settings], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """A row for each setting, those inside it after it."""
    schema = settings.model_json_schema()
    definitions = schema.get("$defs", {})
    for name, field in settings.model_fields.items():
        shape = schema["properties"][name]
        required = field.is_required()
        default = "" if required else _default(field.get_default(call_default_factory=True), shape)
        inner = _inner(field.annotation)
        reported = "required" if required else "" if inner and isinstance(field.default, Settings) else code(default)
        yield code(prefix + name), type_of(shape, definitions), reported, sentence(field.description or "")
        if inner:
            yield from settings_rows(inner, f"{prefix}{name}::")


def _inner(annotation: Any) -> type[Settings] | None:
    """The settings class of a nested mapping, optional or not."""
    members = getattr(annotation, "__args__", None) or (annotation,)
    return next((each for each in members if isinstance(each, type) and issubclass(each, Settings)), None)


def type_of(shape: Schema, definitions: Mapping[str, Schema]) -> str:
    """The type that a JSON Schema describes, in a user's words."""
    if "$ref" in shape:
        return type_of(definitions[shape["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in shape:
        return either(list(dict.fromkeys(type_of(each, definitions) for each in shape["anyOf"])))
    if "enum" in shape or "const" in shape:
        return either([code(word) for word in shape.get("enum", [shape.get("const")])])
    if shape["type"] == "array":
        return f"list of {type_of(shape['items'], definitions)}"
    return _mapping(shape, definitions) if shape["type"] == "object" else _scalar(shape)


def _mapping(shape: Schema, definitions: Mapping[str, Schema]) -> str:
    values = shape.get("additionalProperties")
    inner = type_of(values, definitions) if isinstance(values, dict) and values else ""
    return f"mapping to {inner}" if inner and "mapping" not in inner else "mapping"


def _scalar(shape: Schema) -> str:
    if shape.get("format") == "duration":
        return _duration_type(shape)
    if shape.get("format") == "bound":
        return "durations and sizes"
    if shape.get("format") in ("path", "size", "share"):
        return str(shape["format"])
    limits = [f"{words} {_figure(shape[limit])}" for limit, words in _LIMITS.items() if limit in shape]
    return ", ".join([_PLAIN[shape["type"]], *limits])


def _figure(limit: float) -> str:
    return f"{limit:g}" if isinstance(limit, float) else f"{limit:,}"


def _duration_type(shape: Schema) -> str:
    """With its limits, where they are not those of every duration."""
    usual = _usual.json_schema()
    limits = [f"{words} {shape[key]}" for key, words in _SPANS.items() if key in shape and shape[key] != usual[key]]
    return ", ".join(["duration", *limits]) + (", or 0s" if limits and "x-or-zero" in shape else "")


def _default(value: Any, shape: Schema) -> str:
    plain = to_jsonable_python(value)
    if isinstance(plain, float) and _is(shape, "format", "duration"):
        return format_duration(plain)
    if isinstance(plain, int) and _is(shape, "format", "size"):
        return format_bytes(plain)
    if isinstance(plain, dict) and plain and not any(plain.values()) and _is(shape, "type", "array"):
        plain = list(plain)  # a list of names is the same as a mapping from names to nothing
    return yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=10_000).removesuffix("...\n").strip()


def _is(shape: Schema, key: str, value: str) -> bool:
    return shape.get(key) == value or any(_is(each, key, value) for each in shape.get("anyOf", ()))
