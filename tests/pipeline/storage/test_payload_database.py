# SPDX-License-Identifier: Apache-2.0
"""Payloads in a database file: all or nothing, also after a crash at any moment."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_payloads import MIB, Folder, numbers, payload, stored

from ebpf_sidecar.pipeline.payload import Payload
from ebpf_sidecar.pipeline.payload_store import FULL, Amount, StorageError


def test_a_payload_is_read_as_it_was_stored(tmp_path):
    """Body, points and note, whatever bytes and text they hold."""
    original = Payload(bytes(range(256)), 7, {"table": "µ", "": "x"})
    folder = Folder(tmp_path)
    with stored(folder) as store:
        store.add({5: original})
    with stored(folder) as store:
        assert (5, original) == store.oldest(0)
        assert Amount(1, 7, original.size) == store.amount(0)
        assert (5, 5, None) == (store.last(), store.oldest_amount(4)[0], store.oldest(5))


OPERATIONS = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 3), st.integers(0, 3)),
    st.tuples(st.just("remove"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("replace"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("reopen"), st.just(0), st.just(0)),
)


class Model:
    """A store beside a dictionary of what it is to hold; the states after each transaction are kept."""

    def __init__(self, path):
        self.folder, self.expected, self.last = Folder(path), {}, 0
        self.store = self.folder.open_store("store")
        self.states = [[]]

    def apply(self, operation, first, second):
        getattr(self, operation)(first, second)
        self.states.append(list(self.expected.values()))

    def add(self, number, removed):
        new = {self.last + each + 1: self.last + each + 1 for each in range(number)}
        gone = list(self.expected)[:removed]
        self.store.add({each: payload(each, size=3000) for each in new}, gone)
        self.expected = {key: value for key, value in self.expected.items() if key not in gone} | new
        self.last += number

    def remove(self, place, _):
        for key in list(self.expected)[place : place + 1]:
            self.store.remove([key])
            del self.expected[key]

    def replace(self, place, _):
        for key in list(self.expected)[place : place + 1]:
            self.expected[key] += 1000
            self.store.replace(key, payload(self.expected[key]))

    def reopen(self, *_):
        self.store.close()
        self.store = self.folder.open_store("store")
        self.states.clear()


@settings(deadline=None, max_examples=40)
@given(st.lists(OPERATIONS, max_size=12), st.integers(0, 1 << 20))
def test_after_a_crash_it_holds_exactly_what_was_stored_and_after_a_torn_tail_an_earlier_state(operations, torn):
    """A copy of the files is what a killed process leaves; a shorter log, what a power cut may leave without fsync."""
    with tempfile.TemporaryDirectory() as path:
        place = Path(path)
        (place / "live").mkdir()
        model = Model(place / "live")
        for operation in operations:
            model.apply(*operation)
        killed, cut = model.folder.copy(place / "killed"), model.folder.copy(place / "cut")
        log = place / "cut" / "store-wal"
        os.truncate(log, torn % (log.stat().st_size + 1))
        with stored(killed) as store, stored(cut) as earlier:
            assert list(model.expected.values()) == numbers(store) == numbers(model.store)
            assert numbers(earlier) in model.states or not model.states
        assert [] == killed.notices + cut.notices
        model.folder.close()


def test_a_file_keeps_its_size_limit_and_works_when_there_is_room_again(tmp_path):
    """What does not fit is refused as a whole."""
    folder = Folder(tmp_path, max_size=MIB)
    with stored(folder) as store:
        for each in range(1, 9):
            store.add({each: payload(each, size=100_000)})
        with pytest.raises(StorageError) as caught:
            store.add({9: payload(9, size=100_000), 10: payload(10, size=200_000)})
        full = numbers(store)
        store.add({9: payload(9, size=100_000)}, removed=[1, 2])

        assert FULL == caught.value.reason
        assert [1, 2, 3, 4, 5, 6, 7, 8] == full
        assert [3, 4, 5, 6, 7, 8, 9] == numbers(store)
    assert MIB >= (tmp_path / "store").stat().st_size


def test_an_emptied_file_becomes_small(tmp_path):
    """After an outage, the disk gets its space back, in steps that hold up nobody; 16 MiB are kept for the next one."""
    with stored(Folder(tmp_path, max_size=64 * MIB)) as store:
        store.add({each: payload(each, size=MIB) for each in range(1, 41)})
        store.remove([*range(1, 41)])
        for each in range(50, 55):
            store.add({each: payload(each)})
            store.remove([each])
    assert 17 * MIB > sum(each.stat().st_size for each in tmp_path.iterdir())


def test_others_cannot_read_it(tmp_path):
    """Only the service's user."""
    with stored(Folder(tmp_path)) as store:
        store.add({1: payload(1)})

        assert {0o600} == {each.stat().st_mode & 0o777 for each in tmp_path.iterdir()}


def test_what_a_later_version_wrote_is_left_alone(tmp_path):
    """Its tables may mean something else."""
    folder = Folder(tmp_path)
    with stored(folder) as store:
        store._db.execute("PRAGMA user_version = 2")

    with pytest.raises(
        StorageError, match='store" was written by a later version; use that one, or move the file away'
    ):
        folder.open_store("store")
