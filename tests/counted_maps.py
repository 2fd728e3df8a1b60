# SPDX-License-Identifier: Apache-2.0
"""A kernel map that tests count into, and the totals made from it; shared by several test files."""

import numpy as np
from hypothesis import strategies as st

from ebpf_sidecar.receivers.ebpf.maps.map_totals import MapTotals, View

START = 1000
KEY = np.dtype([("generation", "u4"), ("who", "u4")])


class FakeMap:
    """A kernel map with two columns that a test writes into."""

    name, columns = "fake", 2

    def __init__(self):
        self.entries = {}
        self.generation = 0

    def count(self, group, amount=1):
        first, second = self.entries.get((self.generation, group), (0, 0))
        self.entries[self.generation, group] = (first + amount, second + 1)

    def read(self):
        keys = np.array(list(self.entries), KEY) if self.entries else np.zeros(0, KEY)
        return keys, np.array(list(self.entries.values()), np.uint64).reshape(-1, 2)

    def delete(self, keys):
        for key in keys.tolist():
            self.entries.pop(key, None)


def tally_of(kernel_map, **settings):
    """A tally whose groups are the keys' ``group``."""
    view = View(("who",), lambda keys: [(str(group),) for group in keys["who"].tolist()])
    return MapTotals(kernel_map, [view], **{"start": START, **settings})


def totals(map_totals):
    """The tally's rows as a dictionary."""
    snapshot = map_totals.snapshot()
    return {r.get("who", "overflow"): v for r, v in zip(snapshot.rows.records(), snapshot.totals.tolist(), strict=True)}


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("count"), st.integers(0, 5), st.integers(1, 1000)),
        st.tuples(st.just("update"), st.just(0), st.just(0)),
        st.tuples(st.just("clear"), st.just(0), st.just(0)),
    ),
    max_size=60,
)
