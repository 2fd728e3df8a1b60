# SPDX-License-Identifier: Apache-2.0
"""The near map, an array that some hash maps have next to them (bpf/near.h), as the reader sees it.

A key may be in places of the array (one for each CPU that counted in it), in the hash map, or in both: its values are
the sums. The array is mapped into memory, because a place must be freed in a certain order, which the kernel's update
of a whole element does not guarantee.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.errors import ProbeError
from ebpf_sidecar.receivers.ebpf.kernel.membarrier import STORES_IN_ORDER, wait_for_programs

from .layout import Keys, Values, raw_keys, round_up_to_8

NO_WORD = 0xFFFFFFFFFFFFFF00
"""See near.h: each word of a key is stored XORed with this."""
_CACHE_LINE = 64
_TAKEN = 1  # a first word that belongs to no key although the place is not free


def place_bytes(key: int, value: int) -> int:
    """Bytes of a place for keys and values of these sizes: key, claims and value, in whole cache lines."""
    return -(-(round_up_to_8(key) + 8 + round_up_to_8(value)) // _CACHE_LINE) * _CACHE_LINE


@dataclass
class Near:
    """Some places. ``fd``: the array's descriptor; ``memory``: where it is mapped; ``columns``: of a value.

    ``barrier``: returns once programs that start afterwards see everything written before; False if the kernel offers
    no way to wait (nohz_full, one CPU). ``in_order``: whether that holds without it.
    """

    fd: int
    key_dtype: np.dtype[np.void]
    columns: int
    memory: mmap.mmap | bytearray
    barrier: Callable[[], bool] = field(default=wait_for_programs, repr=False)
    in_order: bool = STORES_IN_ORDER
    _words: int = field(init=False)
    _emptied: NDArray[np.intp] = field(init=False, repr=False)
    """Places that are empty but not freed yet."""

    def __post_init__(self) -> None:
        self._words = round_up_to_8(self.key_dtype.itemsize) // 8
        self._emptied = np.zeros(0, np.intp)

    def read(self) -> tuple[Keys, Values]:
        """The entries whose keys are complete, in the places' order; a key may have several."""
        places = self._places()
        self._give_back(places)
        taken, keys = self._taken(places)
        first = self._words + 1
        return keys, places[taken, first : first + self.columns]

    def release(self, keys: Keys) -> None:
        """Free the places of these keys, to which programs no longer add. Others are left alone."""
        places, gone = self._places(), set(raw_keys(keys))
        taken, present = self._taken(places)
        mine = taken[np.array([raw in gone for raw in raw_keys(present)], np.bool_)]
        if not len(mine):
            return
        places[mine, 0] = _TAKEN
        places[mine, 1:] = 0
        # A program takes a place whose first word is 0. On x86 that store always becomes visible after the others; on
        # arm64 it might become visible before, and the program's counts would be overwritten. So unless the others are
        # known to be visible, the place is freed at the next reading: until then this thread has slept, which orders
        # its stores.
        self._emptied = np.append(self._emptied, mine)
        if self.barrier() or self.in_order:
            self._give_back(places)

    def _give_back(self, places: NDArray[np.uint64]) -> None:
        places[self._emptied, 0] = 0
        self._emptied = self._emptied[:0]

    def close(self) -> None:
        """Unmap the array, so that the kernel can free it. May be called twice."""
        if isinstance(self.memory, mmap.mmap):
            with suppress(
                BufferError
            ):  # a view still exists, perhaps in an exception's traceback, and is unmapped with it
                self.memory.close()

    def _places(self) -> NDArray[np.uint64]:
        """A view of the memory, one row per place; must not be kept, or the memory cannot be unmapped."""
        width = place_bytes(self.key_dtype.itemsize, 8 * self.columns) // 8
        words = np.frombuffer(self.memory, np.uint64)
        return words[: len(words) // width * width].reshape(-1, width)

    def _taken(self, places: NDArray[np.uint64]) -> tuple[NDArray[np.intp], Keys]:
        """Which places hold a whole key, and these keys."""
        words = places[:, : self._words].copy()  # read once: programs write at the same time
        taken = np.flatnonzero((words != 0).all(axis=1) & (words[:, 0] != _TAKEN))
        raw = (words[taken] ^ np.uint64(NO_WORD)).view(np.uint8)[:, : self.key_dtype.itemsize]
        return taken, np.ascontiguousarray(raw).reshape(-1).view(self.key_dtype)


def map_places(fd: int, key_dtype: np.dtype[np.void], columns: int, sizes: tuple[int, int]) -> Near:
    """Map the near map ``fd``. ``sizes``: bytes of an element, and number of elements. Raises `ProbeError` if they do
    not fit."""
    size, places = sizes
    if size != place_bytes(key_dtype.itemsize, 8 * columns):
        raise ProbeError(f"an element of its near map takes {size} bytes; see near.h for what it must consist of")
    try:
        memory = mmap.mmap(fd, size * places)
    except (OSError, ValueError) as error:
        raise ProbeError(f"cannot map an array of the kernel: {error}") from error
    return Near(fd, key_dtype, columns, memory)


def added_up(near: tuple[Keys, Values], far: tuple[Keys, Values]) -> tuple[Keys, Values]:
    """The entries of both, each key once: first those in the hash map, then the others."""
    if not len(near[0]):
        return far
    keys, values = np.concatenate([far[0], near[0]]), np.concatenate([far[1], near[1]])
    rows: dict[bytes, int] = {}
    row = np.array([rows.setdefault(raw, len(rows)) for raw in raw_keys(keys)], np.intp)
    if len(rows) == len(keys):
        return keys, values
    sums = np.zeros((len(rows), values.shape[1]), np.uint64)
    np.add.at(sums, row, values)
    _, first = np.unique(row, return_index=True)
    return keys[first], sums
