# SPDX-License-Identifier: Apache-2.0
"""What the machine is made to do: loops in C (`loops.c`) and fio, on a file of our own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

FILE_BYTES = 64 << 20


@dataclass(frozen=True)
class Workload:
    """A loop: ``kind`` as loops.c (or ``fio``) knows it, ``operations`` at scale 1; ``cold``: from disk each time."""

    name: str
    kind: str
    operations: int
    cold: bool = False


@dataclass(frozen=True)
class Machine:
    """Where loops run: the compiled program and a file."""

    loops: Path
    file: Path

    def run(self, workload: Workload, scale: float) -> tuple[int, int]:
        """Operations done and nanoseconds taken."""
        operations = max(64, int(workload.operations * scale))
        forget(self.file) if workload.cold else self.file.read_bytes()
        if workload.kind == "fio":
            return operations, fio(self.file, operations)
        command = [self.loops, workload.kind, self.file, str(operations)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        return operations, int(done.stdout.split()[1])


@contextmanager
def machine() -> Iterator[Machine]:
    """Compile the loops and write the file, both for the length of the block."""
    compiler = shutil.which("cc")
    if not compiler:
        raise SystemExit("no C compiler found; install gcc")
    with tempfile.TemporaryDirectory() as folder:
        made = Machine(Path(folder, "loops"), Path(folder, "data"))
        subprocess.run([compiler, "-O2", "-o", made.loops, Path(__file__).with_name("loops.c")], check=True)
        made.file.write_bytes(os.urandom(FILE_BYTES))
        forget(made.file)
        yield made


def forget(file: Path) -> None:
    """Write a file to disk and drop it from the page cache."""
    descriptor = os.open(file, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def fio(file: Path, operations: int) -> int:
    """Nanoseconds for direct reads at random places."""
    options = {"name": "x", "filename": file, "rw": "randread", "norandommap": 1, "bs": 4096, "direct": 1,
               "ioengine": "psync", "io_size": 4096 * operations, "size": FILE_BYTES,
               "output-format": "terse"}  # fmt: skip
    arguments = [f"--{name}={value}" for name, value in options.items()]
    done = subprocess.run(["fio", *arguments], stdout=subprocess.PIPE, check=True, text=True)
    return int(done.stdout.split(";")[8]) * 1_000_000  # terse version 3: runtime of reads in ms
