# SPDX-License-Identifier: Apache-2.0
"""What the running kernel says about its own types (BTF): where a field is, what a tracepoint passes, an enum's values.

Offsets taken from another kernel's headers compile, attach and read wrong numbers; these cannot.
"""

from __future__ import annotations

import struct
from pathlib import Path

KERNEL_BTF = Path("/sys/kernel/btf/vmlinux")

_MAGIC = 0xEB9F
_INT, _PTR, _ARRAY, _STRUCT, _UNION, _ENUM, _TYPEDEF = 1, 2, 3, 4, 5, 6, 8
_FUNC_PROTO, _VAR, _DATASEC, _DECL_TAG, _ENUM64 = 13, 14, 15, 17, 19
_NAMED = (_STRUCT, _UNION, _TYPEDEF)
_MODIFIERS = (9, 10, 11, 18)  # volatile, const, restrict, type_tag: what they wrap is what counts
# bytes after the 12 of each type: fixed, or per member
_FIXED = {_INT: 4, _ARRAY: 12, _VAR: 4, _DECL_TAG: 4}
_PER_MEMBER = {_STRUCT: 12, _UNION: 12, _ENUM: 8, _FUNC_PROTO: 8, _DATASEC: 12, _ENUM64: 12}


class Btf:
    """The type information of one kernel. Raises `ValueError` for bytes that are not BTF."""

    def __init__(self, data: bytes) -> None:
        if len(data) < 24 or struct.unpack_from("<H", data)[0] != _MAGIC:
            raise ValueError("not BTF")
        header, types, types_length, strings, strings_length = struct.unpack_from("<IIIII", data, 4)
        self._types = data[header + types : header + types + types_length]
        self._strings = data[header + strings : header + strings + strings_length]
        self._positions: list[int] = [0]  # of type ids, which begin at 1
        self._named: dict[tuple[int, int], int] = {}
        self._enums: list[int] = []
        self._index()

    @classmethod
    def of_kernel(cls, path: Path = KERNEL_BTF) -> Btf | None:
        """The running kernel's, or None when it was built without."""
        try:
            return cls(path.read_bytes())
        except (OSError, ValueError):
            return None

    def offset(self, struct_name: str, field: str) -> int | None:
        """Bytes from the struct's begin to the field, also through anonymous members; None when there is none."""
        position = self._find(_STRUCT, struct_name)
        bits = None if position is None else self._member(position, self._name_offset(field))
        return None if bits is None else bits // 8

    def tracepoint_arguments(self, event: str) -> tuple[str, ...] | None:
        """The names of the types behind a raw tracepoint's arguments, ``""`` where unnamed; None when it is unknown."""
        position = self._find(_TYPEDEF, f"btf_trace_{event}")
        if position is None:
            return None
        prototype = self._strip(self._word(position + 8))
        if prototype is None or self._kind(prototype) != _FUNC_PROTO:
            return None
        count = self._word(prototype + 4) & 0xFFFF
        arguments = [self._word(prototype + 16 + 8 * i) for i in range(count)]
        return tuple(self._type_name(argument) for argument in arguments[1:])  # the first is the program's own context

    def enumerator(self, name: str) -> int | None:
        """The value of an enum's constant."""
        wanted = self._name_offset(name)
        for position in self._enums if wanted else ():
            for i in range(self._word(position + 4) & 0xFFFF):
                if self._word(position + 12 + 8 * i) == wanted:
                    return self._word(position + 16 + 8 * i)
        return None

    def _index(self) -> None:
        unpack, data, position, end = struct.unpack_from, self._types, 0, len(self._types)
        while position < end:
            name, info = unpack("<II", data, position)
            kind = info >> 24 & 0x1F
            self._positions.append(position)
            if kind in _NAMED and name:
                self._named.setdefault((kind, name), position)
            elif kind == _ENUM:
                self._enums.append(position)
            position += 12 + _FIXED.get(kind, 0) + _PER_MEMBER.get(kind, 0) * (info & 0xFFFF)

    def _word(self, position: int) -> int:
        return int.from_bytes(self._types[position : position + 4], "little")

    def _kind(self, position: int) -> int:
        return self._word(position + 4) >> 24 & 0x1F

    def _name_offset(self, name: str) -> int:
        return self._strings.find(b"\0" + name.encode() + b"\0") + 1

    def _find(self, kind: int, name: str) -> int | None:
        # a name can stand in the strings more than once only in split BTF, which the kernel's own is not
        return self._named.get((kind, self._name_offset(name)))

    def _member(self, position: int, name: int) -> int | None:
        """Bits from the struct at ``position`` to the member; anonymous structs and unions are looked into."""
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
        """Position of the type behind pointers and modifiers; None for void."""
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
        begin = self._word(position)
        return self._strings[begin : self._strings.index(b"\0", begin)].decode()
