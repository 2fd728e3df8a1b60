# SPDX-License-Identifier: Apache-2.0
"""Attribute values of OTLP as values of columns.

A text, a number or a truth value stays what it is. Arrays and maps become JSON text, bytes become base64, as in the
Collector's ``AsString``. An empty text and a missing value are the same: the attribute is absent.
"""

from __future__ import annotations

import json
import sys
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from ebpf_sidecar.pipeline.rows import Column, Text

Value = str | bool | int | float
_MOST_READ = 100_000
_DTYPES = {bool: np.bool_, int: np.int64, float: np.float64}


def value_of(any_value: Any) -> Value:
    """The value of an ``AnyValue``; empty text if it has none."""
    plain = _plain(any_value)
    if plain is None:
        return ""
    if isinstance(plain, (list, dict)):
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
    return sys.intern(plain) if isinstance(plain, str) else plain  # rows have most of their words in common


def _plain(any_value: Any) -> Any:
    kind = any_value.WhichOneof("value")
    match kind:
        case "array_value":
            return [_plain(each) for each in any_value.array_value.values]
        case "kvlist_value":
            return {each.key: _plain(each.value) for each in any_value.kvlist_value.values}
        case "bytes_value":
            return b64encode(any_value.bytes_value).decode()
        case "string_value" | "bool_value" | "int_value" | "double_value":
            return getattr(any_value, kind)
    return None


class AttributeReader:
    """Reads serialized ``KeyValue`` messages; different points have most of theirs in common."""

    def __init__(self) -> None:
        self._read: dict[bytes, tuple[str, Value]] = {}

    def read(self, attributes: Iterable[bytes]) -> tuple[dict[str, Value], int]:
        """The values, sorted by name, and how many attributes are absent, as they have no name or an empty value.

        Raises `google.protobuf.message.DecodeError`.
        """
        values = dict([self._read.get(each) or self._new(each) for each in attributes])
        present = {name: values[name] for name in sorted(values) if name and values[name] != ""}
        return present, len(values) - len(present)

    def _new(self, body: bytes) -> tuple[str, Value]:
        if len(self._read) >= _MOST_READ:
            self.clear()
        message = KeyValue.FromString(body)
        read = self._read[body] = sys.intern(message.key), value_of(message.value)
        return read

    def clear(self) -> None:
        """Forget what was read."""
        self._read.clear()


def text_of(value: Value) -> str:
    """A value as text, in JSON's notation."""
    return value if isinstance(value, str) else json.dumps(value)


def texts_of(attributes: Iterable[Any]) -> Mapping[str, str]:
    """The values of ``KeyValue`` messages as text, by name."""
    return {each.key: text_of(value_of(each.value)) for each in attributes}


def column(values: Sequence[Value | None]) -> Column:
    """One value per row, None if absent: numbers if all are of one type, otherwise text."""
    types = {*map(type, values)} - {type(None)}
    if types == {str} and None not in values:
        return Text.of(values)  # type: ignore[arg-type] # all of them are text
    dtype = _DTYPES.get(types.pop()) if len(types) == 1 else None
    if dtype is None:
        return Text.of("" if value is None else text_of(value) for value in values)
    absent = [value is None for value in values]
    if not any(absent):
        return np.array(values, dtype)
    return np.ma.MaskedArray(np.array([value or 0 for value in values], dtype), absent)
