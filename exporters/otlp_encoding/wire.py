# SPDX-License-Identifier: Apache-2.0
"""Protobuf's wire format: varints, fields with a length, and OTLP's attributes."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from functools import lru_cache

LENGTH_DELIMITED, FIXED64, VARINT = 2, 1, 0
_WRAP = 1 << 64  # negative integers are their two's complement in 64 bits

Value = str | bool | int | float


def varint(number: int) -> bytes:
    """A whole number, 0 to 2 ** 64 - 1, seven bits to a byte."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def tag(number: int, wire_type: int = LENGTH_DELIMITED) -> bytes:
    """What precedes the content of field ``number``."""
    return varint(number << 3 | wire_type)


def message(number: int, *content: bytes) -> bytes:
    """Field ``number`` with a length: text, bytes or another message."""
    return b"".join((prefix(number, sum(map(len, content))), *content))


def prefix(number: int, size: int) -> bytes:
    """What precedes the ``size`` bytes of field ``number``."""
    return tag(number) + varint(size)


def text(number: int, content: str) -> bytes:
    """Field ``number`` with text; nothing if it is empty, as protobuf writes defaults."""
    return message(number, _utf8(content)) if content else b""


def attributes(number: int, values: Mapping[str, Value]) -> bytes:
    """Field ``number``, repeated: ``KeyValue`` messages."""
    return b"".join(attribute(number, name, value) for name, value in values.items())


def attribute(number: int, name: str, value: Value) -> bytes:
    """One ``KeyValue`` message as field ``number``."""
    return message(number, _key(name), message(2, _any_value(value)))


@lru_cache(maxsize=1024)
def _key(name: str) -> bytes:
    return message(1, _utf8(name))


def _any_value(value: Value) -> bytes:
    if isinstance(value, str):
        return message(1, _utf8(value))
    if isinstance(value, bool):
        return tag(2, VARINT) + varint(value)
    if isinstance(value, int):
        return tag(3, VARINT) + varint(value % _WRAP)
    return tag(4, FIXED64) + struct.pack("<d", value)


def _utf8(content: str) -> bytes:
    return content.encode("utf-8", "replace")  # names that are not text have lone surrogates


def lengths(sizes: Iterable[int]) -> list[bytes]:
    """The varint of each size; the same object for equal ones."""
    known: dict[int, bytes] = {}
    return [known.get(size) or known.setdefault(size, varint(size)) for size in sizes]
