# SPDX-License-Identifier: Apache-2.0
"""What storing payloads on disk costs, compared with writing and syncing the same bytes to a plain file.

    python bench/disk_queue.py [folder]

In turns, on the disk of ``folder`` (the current one by default): a payload is added and synced, and removed as after
its delivery; the same bytes are appended to a file and synced. Times are medians; "ratio": of adding and removing to
the plain file, median over the turns. "unsynced": adding and removing with ``fsync: false``. Last, what a start takes
with a full queue.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from measuring.printing import progress, table
from measuring.timing import clocked

from ebpf_sidecar.pipeline.payload import Payload
from ebpf_sidecar.pipeline.storage.payload_database import PayloadDatabase

SIZES = (4_000, 64_000, 1_000_000, 4_000_000)
TURNS = 100
WAITING = 256 << 20
GIB = 1 << 30


@dataclass
class Times:
    """Milliseconds of each turn."""

    added: list[float] = field(default_factory=list)
    removed: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    unsynced: list[float] = field(default_factory=list)

    def row(self, size: int) -> list[object]:
        """A line of the table."""
        add, remove, plain, unsynced = map(statistics.median, (self.added, self.removed, self.plain, self.unsynced))
        ratios = [(a + r) / p for a, r, p in zip(self.added, self.removed, self.plain, strict=True)]
        rate = 1e3 / (add + remove)
        return [f"{size:,}", add, remove, plain, unsynced, statistics.median(ratios), round(rate), size * rate / 1e6]


def measured(folder: Path, size: int, turns: int) -> Times:
    """Times with payloads of ``size`` bytes."""
    times, payload = Times(), Payload(os.urandom(size), size // 40)
    durable, fast = (_store(folder / f"store{size}{fsync}", durable=fsync) for fsync in (True, False))
    plain = os.open(folder / f"plain{size}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def written() -> None:
        os.write(plain, payload.body)
        os.fsync(plain)

    def unsynced(number: int) -> None:
        fast.add({number: payload})
        fast.remove([number])

    for number in range(1, turns + 1):
        times.added.append(clocked(partial(durable.add, {number: payload}))[0])
        times.removed.append(clocked(partial(durable.remove, [number]))[0])
        times.plain.append(clocked(written)[0])
        times.unsynced.append(clocked(partial(unsynced, number))[0])
    os.close(plain)
    durable.close()
    fast.close()
    return times


def start_up(folder: Path, waiting: int) -> float:
    """Seconds to open a file in which that many bytes wait, in payloads of 64 kB."""
    store = _store(folder / "waiting", durable=False)
    payload = Payload(os.urandom(64_000), 1_000)
    store.add(dict.fromkeys(range(1, waiting // 64_000 + 1), payload))
    store.close()
    return clocked(lambda: _store(folder / "waiting", durable=True).close())[0] / 1e3


def _store(path: Path, *, durable: bool) -> PayloadDatabase:
    return PayloadDatabase(path, GIB, durable, progress)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else ".") as path:
        rows = []
        for size in SIZES:
            progress(f"{size:,} bytes")
            rows.append(measured(Path(path), size, TURNS).row(size))
        heads = ["bytes", "add, ms", "remove", "plain, ms", "unsynced", "ratio", "payloads/s", "MB/s"]
        print(table(heads, rows))
        print(f"\nto open a file of {WAITING >> 20} MiB: {start_up(Path(path), WAITING):.2f} s")


if __name__ == "__main__":
    main()
