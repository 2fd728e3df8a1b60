# SPDX-License-Identifier: Apache-2.0
"""Damage on the disk: what is whole goes on, what is damaged is kept aside, and nothing crashes."""

import os
import random

import pytest
from stored_payloads import Folder, numbers, payload, stored

from ebpf_sidecar.pipeline.payload_store import DamageError, StorageError

COUNT = 60


@pytest.fixture
def folder(tmp_path):
    """A folder with a closed store of payloads of some pages each."""
    folder = Folder(tmp_path)
    with stored(folder) as store:
        store.add({each: payload(each, size=10_000) for each in range(1, COUNT + 1)})
    return folder


def test_a_changed_payload_is_set_aside_and_the_others_are_read(folder):
    """It is kept for inspection, in its own table; no more than ten are."""
    with stored(folder) as store:
        for each in range(2, 20):
            store._db.execute("UPDATE payloads SET points = 99 WHERE sequence = ?", (each,))
        found = numbers(store, damaged := [])
        kept = store._db.execute("SELECT sequence FROM damaged ORDER BY sequence").fetchall()

        assert [f"store: payload {each} is damaged; kept in table damaged" for each in range(2, 20)] == damaged
        assert [1, *range(20, COUNT + 1)] == found == numbers(store)
        assert [(each,) for each in range(10, 20)] == kept
        assert COUNT - 18 == store.amount(0).payloads


@pytest.mark.parametrize("column", ["points = 'many'", "body = 7", "body = x''", "note = NULL", "checksum = NULL"])
def test_no_value_is_believed(folder, column):
    """Whatever a damaged page makes of a row."""
    with stored(folder) as store:
        store._db.execute(f"UPDATE payloads SET {column} WHERE sequence = 1")

        with pytest.raises(DamageError, match="store: payload 1 is damaged"):
            store.oldest(0)
        assert list(range(2, COUNT + 1)) == numbers(store)


def test_a_file_that_is_none_is_put_aside_and_a_new_one_started(folder, tmp_path):
    """And reported with the name under which it is kept."""
    (tmp_path / "store").write_bytes(b"nonsense" * 1000)
    with stored(folder) as store:
        store.add({7: payload(7)})

        assert [7] == numbers(store)
    [aside] = tmp_path.glob("store.corrupt-*")
    assert [f'store is damaged (file is not a database); it was kept as "{aside.name}"'] == folder.notices
    assert b"nonsense" == aside.read_bytes()[:8]


def whole_and_in_order(found):
    """Whether payloads are some of those that were stored, in their order."""
    return found == sorted(set(found)) and set(found) <= set(range(1, COUNT + 1))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_is_cut_off_keeps_what_can_be_read(folder, tmp_path, share):
    """As after a file system was repaired."""
    path = tmp_path / "store"
    os.truncate(path, int(path.stat().st_size * share))
    with stored(folder) as store:
        found = numbers(store, damaged := [])
        store.add({COUNT + 1: payload(COUNT + 1)})

        assert whole_and_in_order(found)
        assert [*found, COUNT + 1] == numbers(store)
    assert (share > 0) == bool(folder.notices + damaged)
    assert len(found) >= {0.5: 20, 0.9: 40, 0.999: 50}.get(share, 0)


@pytest.mark.parametrize("seed", range(20))
def test_bytes_that_changed_anywhere_lose_no_more_than_they_must(folder, tmp_path, seed):
    """When the file is opened, or while it is in use; what is read is what was stored."""
    chance, path = random.Random(seed), tmp_path / "store"
    content = bytearray(path.read_bytes())
    for _ in range(chance.choice((1, 3, 30))):
        place = chance.randrange(len(content))
        content[place : place + 8] = chance.randbytes(8)
    path.write_bytes(bytes(content))
    with stored(folder) as store:
        found = numbers(store, [])

        assert whole_and_in_order(found)
        store.add({1000: payload(1000)})
        assert 1000 == store.last()


def test_a_file_that_breaks_while_it_is_in_use_is_replaced(folder, tmp_path):
    """The queue is told, and goes on with what could be read."""
    with stored(folder) as store:
        path = tmp_path / "store"
        content = bytearray(path.read_bytes())
        content[4096 * 40 : 4096 * 60] = os.urandom(4096 * 20)
        path.write_bytes(bytes(content))
        store._db.execute("PRAGMA shrink_memory")  # or it would not look
        with pytest.raises(DamageError, match=r"store is damaged .*it was kept as"):
            store.remove([*range(1, COUNT)])

        store.add({COUNT + 1: payload(COUNT + 1)})
        assert COUNT + 1 in numbers(store)


def test_three_damaged_files_are_kept(folder, tmp_path):
    """For inspection; more would fill the disk."""
    for _ in range(5):
        (tmp_path / "store").write_bytes(b"nonsense" * 1000)
        with stored(folder):
            pass

    assert 3 == len([*tmp_path.glob("store.corrupt-*")])


def test_a_store_that_could_not_be_replaced_is_opened_again_later(folder, tmp_path, monkeypatch):
    """A disk that recovers is used again."""
    with stored(folder) as store:
        store._let_go()
        path = tmp_path / "store"
        path.rename(tmp_path / "elsewhere")
        path.mkdir()
        with pytest.raises(StorageError):
            store.last()
        path.rmdir()

        assert 0 == store.last()
