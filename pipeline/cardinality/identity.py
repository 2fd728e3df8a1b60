# SPDX-License-Identifier: Apache-2.0
"""Identities of rows: a hash of each row's attributes, computed in columns, once per word instead of once per row.

Two different sets collide in one of 10**19 pairs. Hashes are only meaningful in this process.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.rows import Column, texts

Hashes = NDArray[np.uint64]


def attribute_hashes(columns: Mapping[str, Column], length: int) -> Hashes:
    """The hash of each of ``length`` rows, independent of column order; 0 for rows without attributes."""
    total = np.zeros(length, np.uint64)
    for name, column in columns.items():
        text = texts(column)
        total += word_hashes(name, text.words)[text.codes]
    return total


def word_hashes(name: str, words: tuple[str, ...]) -> Hashes:
    """The hash of each word as a value of the attribute; 0 for the empty word, which means "absent"."""
    numbers = [hash((name, word)) & 0xFFFF_FFFF_FFFF_FFFF if word else 0 for word in words]
    return _mixed(np.array(numbers, np.uint64))


def _mixed(numbers: Hashes) -> Hashes:
    """The numbers with well mixed bits, so that their sums are as good as random (splitmix64); 0 stays 0."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(numbers ^ (numbers >> np.uint64(31)))
