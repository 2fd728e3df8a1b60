# SPDX-License-Identifier: Apache-2.0
"""Workloads: loops in C (`loops.c`) and fio, on a file of our own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ebpf_sidecar.receivers.ebpf.kernel.disk_folder import find_disk_folder
from ebpf_sidecar.receivers.ebpf.selftest.workspace import forget

from .limited import limited, why_no_limit

FILE_BYTES = 64 << 20
FIRST = ("nice", "-n", "-15")
"""Give the measured processes priority over everything else on the machine."""


@dataclass(frozen=True)
class Workload:
    """A loop: ``kind`` as loops.c knows it, or ``fio`` (direct) or ``fio_buffered`` for random reads; ``operations`` of
    each thread at scale 1; ``cold``: from disk each time; ``limit``: bytes of the memory cgroup
    it runs in, 0 for none."""

    name: str
    kind: str
    operations: int
    cold: bool = False
    threads: int = 1
    limit: int = 0

    @property
    def by_fio(self) -> bool:
        """Whether fio does it."""
        return self.kind.startswith("fio")

    def why_not(self) -> str:
        """What is missing here to run it; empty if nothing is."""
        if self.by_fio and not shutil.which("fio"):
            return "fio is not installed"
        return why_no_limit() if self.limit else ""


@dataclass(frozen=True)
class LoopRunner:
    """Where loops run: the compiled program and a file."""

    loops: Path
    file: Path

    def run(self, workload: Workload, scale: float) -> tuple[int, float]:
        """How many operations all threads did, and the nanoseconds of one: CPU time in loops.c, otherwise elapsed."""
        operations = max(64, int(workload.operations * scale))
        forget(self.file) if workload.cold else read_whole(self.file)
        if workload.by_fio:
            return operations * workload.threads, fio(self.file, operations, workload)
        command = [*FIRST, self.loops, workload.kind, self.file, str(operations), str(workload.threads)]
        with limited(workload.limit) as there:
            done = subprocess.run([*there, *command], stdout=subprocess.PIPE, check=True, text=True)
        return operations * workload.threads, float(done.stdout)

    @contextmanager
    def repeated(self, workload: Workload, scale: float) -> Iterator[Callable[[], float]]:
        """A process that does a loop of loops.c on request: the nanoseconds of one operation, in the fastest thousand.
        The same process each time, since where its memory lies makes a difference, too."""
        operations = max(64, int(workload.operations * scale))
        read_whole(self.file)
        command = [*FIRST, self.loops, workload.kind, self.file, str(operations), "0"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            asked, answers = process.stdin, process.stdout
            assert asked
            assert answers

            def measured() -> float:
                asked.write("\n")
                asked.flush()
                return float(answers.readline())

            yield measured
            asked.close()


@contextmanager
def machine() -> Iterator[LoopRunner]:
    """Compile the loops and write the file, both for the length of the block."""
    compiler = shutil.which("cc")
    if not compiler:
        raise SystemExit("no C compiler found; install gcc")
    disk = find_disk_folder(Path("/proc/self/mountinfo").read_text())
    with tempfile.TemporaryDirectory(dir=disk and disk.path) as folder:
        made = LoopRunner(Path(folder, "loops"), Path(folder, "data"))
        subprocess.run([compiler, "-O2", "-pthread", "-o", made.loops, Path(__file__).with_name("loops.c")], check=True)
        made.file.write_bytes(os.urandom(FILE_BYTES))
        forget(made.file)
        yield made


def read_whole(file: Path) -> None:
    """Read a file into the page cache without faulting in memory for it."""
    buffer = bytearray(1 << 20)
    with file.open("rb", buffering=0) as opened:
        while opened.readinto(buffer):
            pass


def fio(file: Path, operations: int, workload: Workload) -> float:
    """Nanoseconds of one of ``operations`` reads at random places, each thread in a part of the file of its own."""
    part = FILE_BYTES // workload.threads
    options = {"name": "x", "filename": file, "rw": "randread", "bs": 4096, "direct": int(workload.kind == "fio"),
               "ioengine": "psync", "io_size": 4096 * operations, "size": part, "offset_increment": part,
               "numjobs": workload.threads, "thread": 1, "group_reporting": 1, "output-format": "json"}  # fmt: skip
    if workload.kind == "fio":
        options["norandommap"] = 1
    arguments = [f"--{name}={value}" for name, value in options.items()]
    done = subprocess.run([*FIRST, "fio", *arguments], stdout=subprocess.PIPE, check=True, text=True)
    return float(json.loads(done.stdout)["jobs"][0]["read"]["runtime"]) * 1e6 / operations
