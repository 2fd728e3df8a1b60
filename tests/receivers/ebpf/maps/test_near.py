# SPDX-License-Identifier: Apache-2.0
"""Entries near at hand, against programs that do step by step what bpf/near.h does."""

import errno
import struct
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline.errors import ProbeError
from ebpf_sidecar.receivers.ebpf.maps.kernel_map import KernelMap
from ebpf_sidecar.receivers.ebpf.maps.near import NO_WORD, Near, added_up, map_places

KEY = np.dtype([("cgroup", "u8"), ("tgid", "u4"), ("generation", "u4")])
PLACES, WIDTH = 4, 8  # a cache line: the key's words, the claims, the value's words and padding


class Programs:
    """Count into places, and also into a dictionary that stands for the hash map."""

    def __init__(self):
        self.memory = bytearray(PLACES * WIDTH * 8)
        self.words = np.frombuffer(self.memory, np.uint64).reshape(PLACES, WIDTH)
        self.far = {}

    def count(self, key, number, cpu=0):
        """What a program does when no other program runs."""
        words = np.array([key], KEY).view(np.uint64) ^ np.uint64(NO_WORD)
        place = self.words[(key[0] + cpu) % PLACES]
        if not place[0] and not place[2]:
            place[2] = 1
            place[:2] = words
        row = place[3:5] if (place[:2] == words).all() else self.far.setdefault(key, np.zeros(2, np.uint64))
        row += np.array([1, number], np.uint64)

    def near(self):
        """As the reader has it."""
        return Near(7, KEY, 2, self.memory)

    def read_far(self):
        """As the hash map is read."""
        keys = np.array(list(self.far), KEY)
        return keys, np.array(list(self.far.values()), np.uint64).reshape(len(keys), 2)


keys_of = st.tuples(st.integers(1, 9), st.integers(0, 3), st.integers(0, 1))


def totals(keys, values):
    """By key; a key that occurs twice is a mistake."""
    found = dict(zip((tuple(key) for key in keys.tolist()), map(tuple, values.tolist()), strict=True))
    assert len(found) == len(keys)
    return found


@given(st.lists(st.tuples(keys_of, st.integers(0, 1000), st.integers(0, 2))))
def test_nothing_is_lost_and_nothing_counts_twice(events):
    """Wherever an event was counted: near at hand, in the place of any processor, or in the hash map."""
    programs, calls, numbers = Programs(), Counter(), Counter()
    for key, number, cpu in events:
        programs.count(key, number, cpu)
        calls[key] += 1
        numbers[key] += number

    found = totals(*added_up(programs.near().read(), programs.read_far()))
    assert {key: (calls[key], numbers[key]) for key in calls} == found


@given(st.lists(keys_of), st.lists(keys_of), st.sets(keys_of))
def test_a_released_place_starts_from_zero_and_the_others_stay(before, after, gone):
    """Also for keys that are in no place."""
    programs, near = Programs(), Programs.near
    for key in before:
        programs.count(key, 1)
    kept = {key: count for key, count in totals(*near(programs).read()).items() if key not in gone}

    near(programs).release(np.array(sorted(gone), KEY))

    assert kept == totals(*near(programs).read())
    assert [0] * WIDTH in programs.words.tolist() or len(kept) == PLACES
    for key in after:
        programs.count(key, 1)
    again = totals(*near(programs).read())
    assert all(again[key] >= kept[key] for key in kept)
    assert all(again[key][0] == after.count(key) for key in again if key not in kept)


def test_a_place_is_free_only_when_everybody_sees_that_it_is_empty():
    """Else a program of another processor might count in it, and what it counted be wiped out."""
    programs, seen = Programs(), []
    programs.count((2, 3, 1), 5)
    place = programs.words[2]
    near = Near(7, KEY, 2, programs.memory, lambda: not seen.append(place.tolist()), in_order=False)

    near.release(np.array([(1, 1, 1)], KEY))
    assert [] == seen
    near.release(np.array([(2, 3, 1)], KEY))

    assert [[1, *[0] * (WIDTH - 1)]] == seen
    assert [0] * WIDTH == place.tolist()


@pytest.mark.parametrize(("waits", "in_order"), [(True, True), (True, False), (False, True), (False, False)])
def test_a_place_is_given_back_at_once_only_where_the_order_of_writes_is_known(waits, in_order):
    """With nohz_full the kernel does not wait: x86 needs no waiting, arm64 gets the place one reading later."""
    programs = Programs()
    programs.count((2, 3, 1), 5)
    near = Near(7, KEY, 2, programs.memory, lambda: waits, in_order)
    near.release(np.array([(2, 3, 1)], KEY))
    programs.count((2, 3, 0), 7)
    in_the_map = list(programs.far)

    assert [] == near.read()[0].tolist() or waits or in_order
    assert ([] if waits or in_order else [(2, 3, 0)]) == in_the_map
    programs.count((2, 3, 0), 7)
    assert {(2, 3, 0): (2, 14)} == totals(*added_up(near.read(), programs.read_far()))


@given(st.lists(st.tuples(keys_of, st.booleans(), st.booleans()), max_size=30))
def test_nothing_is_lost_whether_the_kernel_waits_or_not(steps):
    """Keys are counted and released in any order; what was counted since its last release is there."""
    programs, expected, waits = Programs(), Counter(), [True]
    near = Near(7, KEY, 2, programs.memory, lambda: waits[0], in_order=False)
    for key, released, waits[0] in steps:
        programs.count(key, 1)
        expected[key] += 1
        if released:
            near.release(np.array([key], KEY))
            programs.far.pop(key, None)
            del expected[key]

        assert expected == {k: calls for k, (calls, _) in totals(*added_up(near.read(), programs.read_far())).items()}


@pytest.mark.parametrize("written", [0, 1])
def test_half_a_key_is_no_key(written):
    """A program may be about to write it."""
    programs = Programs()
    programs.count((2, 3, 1), 5)
    programs.words[2, written] = 0

    assert 0 == len(programs.near().read()[0])


def test_what_several_processors_counted_of_a_key_is_one_entry():
    """Each in its own place; the order is that of the keys."""
    programs = Programs()
    for cpu, key in enumerate([(2, 3, 1), (2, 3, 1), (9, 9, 0)]):
        programs.count(key, 5, cpu)

    keys, values = added_up(programs.near().read(), programs.read_far())

    assert [(9, 9, 0), (2, 3, 1)] == keys.tolist()
    assert [[1, 5], [2, 10]] == values.tolist()


def test_a_key_in_both_places_is_one_entry():
    """Two programs that wanted a place at once may both have gone without, and one of them got it later."""
    one, other = np.array([(1, 1, 0)], KEY), np.array([(1, 1, 0), (2, 1, 0)], KEY)

    keys, values = added_up((other, np.array([[1, 2], [3, 4]], np.uint64)), (one, np.array([[10, 20]], np.uint64)))

    assert [(1, 1, 0), (2, 1, 0)] == keys.tolist()
    assert [[11, 22], [3, 4]] == values.tolist()


def nothing(_command, attributes):
    """A kernel whose hash map is empty."""
    struct.pack_into("<I", attributes, 32, 0)
    return errno.ENOENT


def test_a_map_reads_and_deletes_what_is_near_at_hand():
    """Its users need not know where an entry lives."""
    programs = Programs()
    programs.count((1, 2, 0), 5)
    programs.count((2, 2, 1), 6)
    kernel_map = KernelMap("m", 3, KEY, {"calls": slice(0, 2)}, 64, nothing, programs.near())

    keys, _ = kernel_map.read()
    kernel_map.delete(keys[keys["generation"] == 0])

    assert [(1, 2, 0), (2, 2, 1)] == keys.tolist()
    assert [(2, 2, 1)] == kernel_map.read()[0].tolist()
    assert 1 == kernel_map.entries()


def test_places_of_another_layout_are_refused():
    """Before anything is read from them."""
    with pytest.raises(ProbeError, match="an element of its near map takes 40 bytes"):
        map_places(0, KEY, 2, (40, 4))


def test_what_cannot_be_mapped_is_an_error(tmp_path):
    """The kernel's word for it is passed on."""
    with (tmp_path / "file").open("wb") as file, pytest.raises(ProbeError, match="cannot map an array of the kernel: "):
        map_places(file.fileno(), KEY, 2, (WIDTH * 8, 4))
