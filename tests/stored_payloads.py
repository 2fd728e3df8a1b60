# SPDX-License-Identifier: Apache-2.0
"""Queues on disk for tests: stores in a folder, and what can happen to their files."""

import shutil
from contextlib import contextmanager

from ebpf_sidecar.pipeline.payload import Payload
from ebpf_sidecar.pipeline.payload_store import FULL, DamageError, StorageError
from ebpf_sidecar.pipeline.storage.payload_database import PayloadDatabase

MIB = 1 << 20


def payload(number, points=1, size=10):
    """A payload whose body begins with its number."""
    return Payload(b"%d " % number + b"x" * size, points, {"kind": "text"})


def number_of(stored):
    """The number of such a payload."""
    return int(stored.body.split(b" ")[0])


class Folder:
    """A `Storage` whose stores are files in a folder; ``notices``: what was reported when they were opened."""

    def __init__(self, path, max_size=64 * MIB, durable=False):
        self.path, self.max_size, self.durable, self.notices, self.stores = path, max_size, durable, [], []

    def open_store(self, name):
        store = PayloadDatabase(self.path / name, self.max_size, self.durable, self.notices.append)
        self.stores.append(store)
        return store

    def close(self):
        for store in self.stores:
            store.close()

    def copy(self, path):
        """The files as they are at this moment, as after the end of the process."""
        shutil.copytree(self.path, path)
        return Folder(path, self.max_size, self.durable)


@contextmanager
def stored(folder, name="store"):
    """An open store."""
    store = folder.open_store(name)
    try:
        yield store
    finally:
        store.close()


def numbers(store, damaged=None):
    """The numbers of all payloads in it, oldest first; what is damaged is added to the list ``damaged``."""
    found, after = [], 0
    while True:
        try:
            each = store.oldest(after)
        except DamageError as damage:
            if damaged is None:
                raise
            damaged.append(str(damage))
            after = max(after, damage.sequence)
            continue
        if each is None:
            return found
        found.append(number_of(each.payload))
        after = each.sequence


class Failing:
    """A store whose writing or reading fails while the test says so."""

    def __init__(self, store):
        self._store, self.failing = store, {}

    def __getattr__(self, name):
        if name in self.failing:
            raise StorageError(f"no luck with {name}", self.failing[name])
        return getattr(self._store, name)


DISK_FULL = {"add": FULL, "replace": FULL, "remove": FULL}


class Unreliable(Folder):
    """Stores that fail while the test says so."""

    def open_store(self, name):
        self.last = Failing(super().open_store(name))
        return self.last
