# SPDX-License-Identifier: Apache-2.0
"""The array of entries near at hand that some hash maps have beside them (bpf/near.h), as the reader sees it.

An entry is in the array, in the hash map, or in both: its values are the sums. The array is mapped into memory, because
a place must be given back in a certain order, which the kernel's update of a whole element does not promise.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...pipeline.errors import ProbeError

Keys = NDArray[np.void]
Values = NDArray[np.uint64]

NO_WORD = 0xFFFFFFFFFFFFFF00
"""See near.h: by this each word of a key is changed in its place."""
_TAKEN = 1  # a first word that belongs to no key, but the place is not free


def place_bytes(key: int, value: int) -> int:
    """Bytes of a place for keys and values of these sizes: the key's words, the claims, the value."""
    return _eights(key) + 8 + _eights(value)


@dataclass
class Near:
    """Some places. ``fd``: the array's descriptor; ``memory``: where it is mapped; ``columns``: of a value."""

    fd: int
    key_dtype: np.dtype[np.void]
    columns: int
    memory: mmap.mmap | bytearray
    _words: int = field(init=False)

    def __post_init__(self) -> None:
        self._words = _eights(self.key_dtype.itemsize) // 8

    def read(self) -> tuple[Keys, Values]:
        """The entries whose keys stand whole in their places, in the places' order."""
        places = self._places()
        taken, keys = self._taken(places)
        return keys, places[taken, self._words + 1 :]

    def release(self, keys: Keys) -> None:
        """Empty the places of these keys, to which no program adds any more. Others are left alone."""
        places, gone = self._places(), set(_raw(keys))
        taken, present = self._taken(places)
        mine = taken[np.array([raw in gone for raw in _raw(present)], np.bool_)]
        # a program takes a place whose first word is 0: that comes last
        places[mine, 0] = _TAKEN
        places[mine, self._words :] = 0
        places[mine, 1 : self._words] = 0
        places[mine, 0] = 0

    def close(self) -> None:
        """Unmap the array, so that the kernel can let it go. Again is no error."""
        if isinstance(self.memory, mmap.mmap):
            self.memory.close()

    def _places(self) -> NDArray[np.uint64]:
        """A view of the memory, one row a place; not to be kept, or the memory cannot be unmapped."""
        width = self._words + 1 + self.columns
        words = np.frombuffer(self.memory, np.uint64)
        return words[: len(words) // width * width].reshape(-1, width)

    def _taken(self, places: NDArray[np.uint64]) -> tuple[NDArray[np.intp], Keys]:
        """Which places hold a whole key, and these keys."""
        words = places[:, : self._words].copy()  # one look: programs write meanwhile
        taken = np.flatnonzero((words != 0).all(axis=1) & (words[:, 0] != _TAKEN))
        raw = (words[taken] ^ np.uint64(NO_WORD)).view(np.uint8)[:, : self.key_dtype.itemsize]
        return taken, np.ascontiguousarray(raw).reshape(-1).view(self.key_dtype)


def map_places(fd: int, key_dtype: np.dtype[np.void], columns: int, sizes: tuple[int, int]) -> Near:
    """The places behind ``fd``. ``sizes``: bytes of an element and elements. Raises `ProbeError` if it cannot be so."""
    size, places = sizes
    if size != place_bytes(key_dtype.itemsize, 8 * columns):
        raise ProbeError(f"an entry near at hand takes {size} bytes; see near.h for what it must consist of")
    try:
        memory = mmap.mmap(fd, size * places)
    except (OSError, ValueError) as error:
        raise ProbeError(f"cannot map an array of the kernel: {error}") from error
    return Near(fd, key_dtype, columns, memory)


def added_up(near: tuple[Keys, Values], far: tuple[Keys, Values]) -> tuple[Keys, Values]:
    """The entries of both, each key once: those that are in the hash map, then the others."""
    if not len(far[0]) or not len(near[0]):
        return near if len(near[0]) else far
    at = {raw: i for i, raw in enumerate(_raw(near[0]))}
    pairs = [(i, at[raw]) for i, raw in enumerate(_raw(far[0])) if raw in at]
    keys, values = far[0], far[1].copy()
    alone = np.ones(len(near[0]), np.bool_)
    if pairs:
        both = np.array(pairs, np.intp)
        values[both[:, 0]] += near[1][both[:, 1]]
        alone[both[:, 1]] = False
    return np.concatenate([keys, near[0][alone]]), np.concatenate([values, near[1][alone]])


def _raw(keys: Keys) -> list[bytes]:
    whole, size = keys.tobytes(), keys.dtype.itemsize
    return [whole[i : i + size] for i in range(0, len(whole), size)]


def _eights(size: int) -> int:
    return (size + 7) // 8 * 8
