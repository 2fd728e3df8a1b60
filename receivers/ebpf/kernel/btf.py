# SPDX-License-Identifier: Apache-2.0
"""The running kernel's type information (BTF): offsets of fields, arguments of tracepoints, values of enums.

Offsets from another kernel's headers would compile and attach, and then read wrong values; these cannot.
"""

from __future__ import annotations

import struct
from pathlib import Path

KERNEL_BTF = Path("/sys/kernel/btf/vmlinux")

_MAGIC = 0xEB9F
_INT, _PTR, _ARRAY, _STRUCT, _UNION, _ENUM, _TYPEDEF = 1, 2, 3, 4, 5, 6, 8
_FUNC, _FUNC_PROTO, _VAR, _DATASEC, _DECL_TAG, _ENUM64 = 12, 13, 14, 15, 17, 19
_NAMED = (_STRUCT, _UNION, _TYPEDEF)
_MODIFIERS = (9, 10, 11, 18)  # volatile, const, restrict, type_tag: looked through
# 4-byte words after the 3 of each type: fixed, or per member
_FIXED = {_INT: 1, _ARRAY: 3, _VAR: 1, _DECL_TAG: 1}
_PER_MEMBER = {_STRUCT: 3, _UNION: 3, _ENUM: 2, _FUNC_PROTO: 2, _DATASEC: 3, _ENUM64: 3}
_KINDS = 32


class Btf:
    """The type information of one kernel. Raises `ValueError` for bytes that are not BTF."""

    def __init__(self, data: bytes) -> None:
        if len(data) < 24 or struct.unpack_from("<H", data)[0] != _MAGIC:
            raise ValueError("not BTF")
        header, types, types_length, strings, strings_length = struct.unpack_from("<IIIII", data, 4)
        self._types = data[header + types : header + types + types_length]
        self._strings = data[header + strings : header + strings + strings_length]
        self._positions: list[int] = [0]  # by type id; ids start at 1
        self._named: dict[tuple[int, int], int] = {}
        self._enums: list[int] = []
        self._index()

    @classmethod
    def of_kernel(cls, path: Path = KERNEL_BTF) -> Btf | None:
        """The running kernel's, or None if it was built without."""
        try:
            return cls(path.read_bytes())
        except (OSError, ValueError):
            return None

    def offset(self, struct_name: str, field: str) -> int | None:
        """The field's offset in bytes, also through anonymous members; None if there is no such field."""
        position = self._find(_STRUCT, struct_name)
        bits = None if position is None else self._member(position, self._name_offset(field))
        return None if bits is None else bits // 8

    def tracepoint_arguments(self, event: str) -> tuple[str, ...] | None:
        """The names of the pointed-to types of a raw tracepoint's arguments, ``""`` if unnamed; None if it is
        unknown."""
        position = self._find(_TYPEDEF, f"btf_trace_{event}")
        if position is None:
            return None
        prototype = self._strip(self._word(position + 8))
        if prototype is None or self._kind(prototype) != _FUNC_PROTO:
            return None
        count = self._word(prototype + 4) & 0xFFFF
        arguments = [self._word(prototype + 16 + 8 * i) for i in range(count)]
        return tuple(self._type_name(argument) for argument in arguments[1:])  # the first is the program's own context

    def function(self, name: str) -> int | None:
        """The type id of a function of the kernel."""
        wanted = struct.pack("<I", self._name_offset(name))
        for number, position in enumerate(self._positions[1:], 1):
            if self._types[position : position + 4] == wanted and self._kind(position) == _FUNC:
                return number
        return None

    def enumerator(self, name: str) -> int | None:
        """The value of an enum's constant."""
        wanted = self._name_offset(name)
        for position in self._enums if wanted else ():
            for i in range(self._word(position + 4) & 0xFFFF):
                if self._word(position + 12 + 8 * i) == wanted:
                    return self._word(position + 16 + 8 * i)
        return None

    def _index(self) -> None:
        # the one loop over all types, about 130,000: words and lists are twice as fast as unpacking and mappings
        words, at, end = memoryview(self._types).cast("I"), 0, len(self._types) // 4
        fixed = [3 + _FIXED.get(kind, 0) for kind in range(_KINDS)]
        per_member = [_PER_MEMBER.get(kind, 0) for kind in range(_KINDS)]
        named, enums, add = self._named, self._enums, self._positions.append
        while at < end:
            info = words[at + 1]
            kind = info >> 24 & 0x1F
            add(4 * at)
            if kind in _NAMED:
                named.setdefault((kind, words[at]), 4 * at)
            elif kind == _ENUM:
                enums.append(4 * at)
            at += fixed[kind] + per_member[kind] * (info & 0xFFFF)

    def _word(self, position: int) -> int:
        return int.from_bytes(self._types[position : position + 4], "little")

    def _kind(self, position: int) -> int:
        return self._word(position + 4) >> 24 & 0x1F

    def _name_offset(self, name: str) -> int:
        return self._strings.find(b"\0" + name.encode() + b"\0") + 1

    def _find(self, kind: int, name: str) -> int | None:
        # only split BTF, which the kernel's own is not, may contain a string more than once
        wanted = self._name_offset(name)
        return self._named.get((kind, wanted)) if wanted else None

    def _member(self, position: int, name: int) -> int | None:
        """Bits from the struct at ``position`` to the member; anonymous structs and unions are searched."""
        info = self._word(position + 4)
        mask = 0xFFFFFF if info >> 31 else 0xFFFFFFFF  # with bit 31, the upper byte is a bit field's width
        for i in range(info & 0xFFFF):
            at = position + 12 + 12 * i
            member, bits = self._word(at), self._word(at + 8) & mask
            if name and member == name:
                return bits
            inner = self._strip(self._word(at + 4)) if member == 0 else None
            found = self._member(inner, name) if inner is not None and self._kind(inner) in (_STRUCT, _UNION) else None
            if found is not None:
                return bits + found
        return None

    def _strip(self, type_id: int) -> int | None:
        """Position of the type without pointers and modifiers; None for void."""
        while type_id:
            position = self._positions[type_id]
            if self._kind(position) not in (_PTR, *_MODIFIERS):
                return position
            type_id = self._word(position + 8)
        return None

    def _type_name(self, type_id: int) -> str:
        position = self._strip(type_id)
        if position is None:
            return ""
        start = self._word(position)
        return self._strings[start : self._strings.index(b"\0", start)].decode()
