# SPDX-License-Identifier: Apache-2.0
"""The compiler's output: maps to create and finished instructions. Immutable, and can be stored as JSON."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

_INSTRUCTION = struct.Struct("<BBhi")
_LOAD_64 = 0x18  # BPF_LD | BPF_IMM | BPF_DW: two instructions long
_MAP = 1  # BPF_PSEUDO_MAP_FD, in the upper half of the registers' byte


@dataclass(frozen=True, slots=True)
class MapLayout:
    """A map as bpf(2) creates it. ``key``, ``value``: BCC's descriptions of their types."""

    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    key: Any
    value: Any


@dataclass(frozen=True, slots=True)
class Bytecode:
    """``programs``: instructions by name; where they load the address of a map, they hold its index in ``maps``."""

    maps: tuple[MapLayout, ...]
    programs: Mapping[str, bytes]
    license: str

    def linked(self, program: str, descriptors: Sequence[int]) -> bytes:
        """The program's instructions with indices replaced by ``descriptors``, which are in the order of ``maps``."""
        return _with_maps(self.programs[program], dict(enumerate(descriptors)))

    def to_json(self) -> dict[str, Any]:
        """A dict of plain values."""
        programs = {name: base64.b64encode(code).decode() for name, code in self.programs.items()}
        return {"maps": [asdict(each) for each in self.maps], "programs": programs, "license": self.license}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Bytecode:
        """The inverse of `to_json`. Raises KeyError, TypeError or ValueError for anything else."""
        programs = {name: base64.b64decode(code, validate=True) for name, code in data["programs"].items()}
        return cls(tuple(MapLayout(**each) for each in data["maps"]), programs, data["license"])


def bytecode(maps: Mapping[int, MapLayout], programs: Mapping[str, bytes], licensed: str) -> Bytecode:
    """Make it from instructions that load maps by descriptor; ``maps``: layouts by descriptor.

    Raises KeyError for an unknown descriptor.
    """
    places = {descriptor: place for place, descriptor in enumerate(maps)}
    unlinked = {name: _with_maps(code, places) for name, code in programs.items()}
    return Bytecode(tuple(maps.values()), unlinked, licensed)


def _with_maps(code: bytes, numbers: Mapping[int, int]) -> bytes:
    """``code`` with the number of each map that it loads replaced."""
    linked = bytearray(code)
    for at in _map_loads(code):
        operation, registers, offset, number = _INSTRUCTION.unpack_from(code, at)
        _INSTRUCTION.pack_into(linked, at, operation, registers, offset, numbers[number])
    return bytes(linked)


def _map_loads(code: bytes) -> Iterator[int]:
    """The offsets at which ``code`` loads the address of a map. The second half of a long instruction is data."""
    at = 0
    while at < len(code):
        operation, registers, _, _ = _INSTRUCTION.unpack_from(code, at)
        if operation == _LOAD_64 and registers >> 4 == _MAP:
            yield at
        at += _INSTRUCTION.size * (2 if operation == _LOAD_64 else 1)
