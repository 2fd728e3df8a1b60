# SPDX-License-Identifier: Apache-2.0
"""A queue on a disk that becomes full and gets room again; prints what happened. Run on a small file system."""

import json
import os
from contextlib import suppress
from pathlib import Path

from observed_queue import DOWN, ObservedPersistentQueue
from stored_payloads import MIB

from ebpf_sidecar.pipeline.component import ComponentKind
from ebpf_sidecar.pipeline.extensions.file_storage import FileStorage, FileStorageSettings
from ebpf_sidecar.pipeline.testing import FakeSender, fake_context, frame

BATCHES = 12


def large(number):
    """A batch of about 20 kB that begins with a number."""
    return [frame("a_metric_with_a_name", [number] * 1000)]


def fill(folder):
    """Take all that is left of a disk."""
    with suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(os.urandom(1000))


def queue_on(extension, sender):
    """A queue that fails until its end, or delivers."""
    queue = ObservedPersistentQueue(sender, extension, initial_interval="10s")
    queue.start()
    return queue


def run(folder):
    """Offer batches before, while and after the disk is full; then start again on a disk that is full."""
    storage = FileStorage(FileStorageSettings(directory=folder), fake_context(ComponentKind.EXTENSION, "file_storage"))
    storage.start()
    queue = queue_on(storage, FakeSender([DOWN] * 99))
    queue.consume(large(0))
    fill(folder)
    for number in range(1, BATCHES - 1):
        queue.consume(large(number))
    errors, in_memory = list(queue.telemetry.errors), len(queue._backlog._held)
    (folder / "filler").unlink()
    queue.consume(large(BATCHES - 1))
    left_in_memory = len(queue._backlog._held)
    lost = queue.shutdown()
    fill(folder)
    sender = FakeSender()
    again = queue_on(storage, sender)
    sender.until(BATCHES)
    again.shutdown()
    storage.shutdown()
    return {
        "errors": sorted({text.partition(": ")[2] for stage, text in errors if stage == "storage"}),
        "in memory": in_memory,
        "left in memory": left_in_memory,
        "recovered": "storage" in queue.telemetry.recoveries,
        "lost": lost,
        "drops": queue.telemetry.drops + again.telemetry.drops,
        "delivered": [int(payload.body.split()[1]) for payload in sender.payloads],
        "ledger": again.accounting,
    }


def main(folder):
    """Print it as JSON."""
    assert os.statvfs(folder).f_blocks * os.statvfs(folder).f_frsize <= 2 * MIB
    print(json.dumps(run(Path(folder))))
