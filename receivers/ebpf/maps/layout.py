# SPDX-License-Identifier: Apache-2.0
"""Translates BCC's description of C types to NumPy's: the layout comes from the compiler and is not repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.void]
"""Keys of a map, structured."""
Values = NDArray[np.uint64]
"""Values of a map, one row each."""
COMM_BYTES = 15
"""The kernel truncates a program's name to this; a name of that length was probably longer."""

_SIZES = {
    "char": "u1",
    "unsigned char": "u1",
    "short": "i2",
    "unsigned short": "u2",
    "int": "i4",
    "unsigned int": "u4",
    "long": "i8",
    "unsigned long": "u8",
    "long long": "i8",
    "unsigned long long": "u8",
}


def key_dtype(description: Any, size: int) -> np.dtype[np.void]:
    """The fields of a key, inner structs flattened, ``char[16]`` as text of 16 bytes.

    ``description`` is BCC's JSON. Raises `ValueError` if the result is not ``size`` bytes, as reported by the kernel.
    """
    dtype = np.dtype(_fields(description) if isinstance(description, list) else [("key", _SIZES[description])])
    return _checked(dtype, size)


def value_fields(description: Any, size: int) -> Mapping[str, slice]:
    """The columns of a value that consists of u64 and arrays of u64 only. Raises `ValueError` for any other value."""
    if not isinstance(description, list):
        description = ["", [["value", description]], "struct"]
    fields: dict[str, slice] = {}
    position = 0
    for name, kind, *shape in _members(description):
        length = shape[0][0] if shape else 1
        if not isinstance(kind, str) or _SIZES.get(kind) != "u8":
            raise ValueError(f'field "{name}" is not a u64; the values of maps with metrics are u64 only')
        fields[name] = slice(position, position + length)
        position += length
    if position * 8 != size:
        raise ValueError(f"fields take {position * 8} bytes, the map has {size}")
    return fields


def _fields(description: Sequence[Any]) -> list[tuple[str, str]]:
    fields: list[tuple[str, str]] = []
    for name, kind, *shape in _members(description):
        if isinstance(kind, list):
            fields += _fields(kind)
        elif kind == "char" and shape:
            fields.append((name, f"S{shape[0][0]}"))
        else:
            fields.append((name, _SIZES[kind]))
    return fields


def _members(description: Sequence[Any]) -> Sequence[Any]:
    return [member for member in description[1] if not str(member[0]).startswith("__pad")]


def _checked(dtype: np.dtype[Any], size: int) -> np.dtype[np.void]:
    if dtype.itemsize != size:
        raise ValueError(f"fields take {dtype.itemsize} bytes, the map has {size}: keys must not have padding")
    return dtype


def raw_keys(keys: Keys) -> list[bytes]:
    """The bytes of each key, as an identity."""
    whole, size = keys.tobytes(), keys.dtype.itemsize
    return [whole[i : i + size] for i in range(0, len(whole), size)]


def round_up_to_8(size: int) -> int:
    """Round bytes up to a multiple of 8."""
    return (size + 7) // 8 * 8
