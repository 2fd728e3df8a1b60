# SPDX-License-Identifier: Apache-2.0
"""A reading whose cleanup policy changes while it runs, as a reload may ask for."""

from math import inf

from counted_maps import FakeMap, tally_of, totals

from ebpf_sidecar.pipeline.component import MapCleanup
from ebpf_sidecar.receivers.ebpf.frames.reading import Reading
from ebpf_sidecar.receivers.ebpf.maps.cleanup import Cleaning


class Kernel(FakeMap):
    """A map that can change its generation."""

    def flip(self):
        self.generation ^= 1
        return 1 - self.generation

    def settled(self):
        return True


class Names:
    """Attribution that has nothing to forget."""

    def forget_names(self, groups):
        """Nothing."""


def test_another_policy_applies_from_the_next_reading_on_and_no_count_is_lost():
    """Nothing is removed, then everything after each reading, then nothing again; idle rows show accordingly."""
    kernel = Kernel()
    tally = tally_of(kernel, stale_after=inf)
    reading = Reading({"fake": tally}, (), Cleaning(MapCleanup(), kernel), Names())
    clearing = MapCleanup("clear_after_read", 1.0, 2.0)
    entries, shown = [], []
    for number, policy in enumerate([MapCleanup(), clearing, clearing, MapCleanup()]):
        kernel.count(2 if number else 1)
        reading.follow(policy)
        reading.update(10.0 * number)
        entries.append(len(kernel.entries))
        shown.append(totals(tally))

    assert [1, 0, 0, 1] == entries
    assert [{"1": [1, 1]}, {"2": [1, 1]}, {"2": [2, 2]}, {"1": [1, 1], "2": [3, 3]}] == shown
