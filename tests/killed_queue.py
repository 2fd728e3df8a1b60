# SPDX-License-Identifier: Apache-2.0
"""A process with a queue on disk under load, to be killed: `main` in the process, `Killed` in the test.

It notes each batch that the queue has taken, and its back end each one that arrived, in files that survive it.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from observed_queue import ObservedPersistentQueue

from ebpf_sidecar.pipeline.component import ComponentKind
from ebpf_sidecar.pipeline.extensions.file_storage import FileStorage, FileStorageSettings
from ebpf_sidecar.pipeline.payload import SendError
from ebpf_sidecar.pipeline.testing import FakeSender, fake_context, frame

CONSUMERS, POINTS = 2, 3


def append(path):
    """A function that adds a line to a file at once."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return lambda line: os.write(descriptor, f"{line}\n".encode())


class UnreliableBackEnd(FakeSender):
    """Writes down what arrives; now and then slow or unavailable, so that something waits."""

    def __init__(self, path, *, reliable):
        super().__init__()
        self._append, self._reliable = append(path), reliable

    def send(self, payload):
        if not self._reliable and random.random() < 0.2:
            raise SendError("unavailable", retry=True, retry_after=0.01)
        self._append(payload.body.decode().split("\n")[0].removeprefix("m "))


def main(folder, first, mode):
    """Load the queue until killed, or (``drain``) deliver what is there; prints the ledger at an orderly end."""
    extension = FileStorage(
        FileStorageSettings(directory=folder / "storage"), fake_context(ComponentKind.EXTENSION, "file_storage")
    )
    extension.start()
    sender = UnreliableBackEnd(folder / "arrived", reliable=mode == "drain")
    settings = {"num_consumers": CONSUMERS, "queue_size": "1GiB"}
    queue = ObservedPersistentQueue(sender, extension, queue=settings, initial_interval="1ms", max_elapsed_time="0s")
    queue.start()
    print(queue.accounting["restored"], flush=True)
    acknowledged = append(folder / "acknowledged")
    while mode == "load":
        queue.consume([frame("m", [first] * POINTS)])
        acknowledged(first)
        first += 1
    while queue.queued_points():
        time.sleep(0.01)
    queue.shutdown()
    extension.shutdown()
    print(json.dumps({**queue.accounting, "queued": queue.queued_points(), "drops": queue.telemetry.drops}))


@dataclass
class Killed:
    """One such queue, in one process after the other."""

    folder: Path
    killed: int = 0

    def __post_init__(self):
        (self.folder / "storage").mkdir()

    def lines(self, name):
        """The numbers of batches in a file."""
        path = self.folder / name
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def run_and_kill(self, seconds):
        """Start it, and kill it so many seconds after it has begun; returns how many points it had restored."""
        self.killed += 1
        with self._process("load") as process:
            restored = int(process.stdout.readline())
            time.sleep(seconds)
            process.send_signal(signal.SIGKILL)
        return restored

    def drain(self):
        """Start it to deliver what is there; returns the ledger of that process, with what it had restored."""
        with self._process("drain") as process:
            output, _ = process.communicate(timeout=120)
        assert 0 == process.returncode
        return json.loads(output.splitlines()[1])

    def waiting(self):
        """How many batches were acknowledged and have not arrived."""
        return len(set(self.lines("acknowledged")) - set(self.lines("arrived")))

    def _process(self, mode):
        numbers = self.lines("acknowledged") + self.lines("arrived")
        first = max(numbers, default=0) + CONSUMERS + 2  # no number twice, whether or not the last was acknowledged
        code = "import sys; sys.path[:] = sys.argv.pop().split(':'); import killed_queue; killed_queue.run(sys.argv)"
        line = [sys.executable, "-c", code, str(self.folder), str(first), mode, ":".join(sys.path)]
        return subprocess.Popen(line, stdout=subprocess.PIPE, text=True)


def run(argv):
    """`main` with the words of a command line."""
    _, folder, first, mode = argv
    main(Path(folder), int(first), mode)
