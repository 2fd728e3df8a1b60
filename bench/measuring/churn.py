# SPDX-License-Identifier: Apache-2.0
"""Cgroups that come and go, every other one a container: in each, a short process reads a file."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import find_hierarchy

JOIN = 'echo $$ > "$1/cgroup.procs" && exec "$2" "$3"'
PROGRAMS = tuple(f"soak-{number:02}-of-the-jobs" for number in range(20))
"""The names that the short processes have in turn; the kernel truncates them to 15 bytes, which differ."""


@dataclass
class Churn:
    """``rate`` cgroups per second, from a separate thread. ``ended``: how many there were."""

    rate: float
    ended: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self, cgroup: Path, work: Path) -> None:
        """One cgroup after the other, until stopped."""
        programs = [work / name for name in PROGRAMS]
        for program in programs:
            program.symlink_to(shutil.which("cat") or "/bin/cat")
        while not self.stopped.wait(1 / self.rate):
            run_in(cgroup / name_of(self.ended), programs[self.ended % len(PROGRAMS)])
            self.ended += 1


def name_of(number: int) -> str:
    """That of a container's cgroup, or for even numbers of another one."""
    identity = uuid.uuid4().hex
    return f"docker-{identity * 2}.scope" if number % 2 else f"job-{identity}.scope"


def run_in(folder: Path, program: Path) -> None:
    """Make a cgroup, let the program read a file in it, and remove it."""
    folder.mkdir()
    try:
        command = ["sh", "-c", JOIN, "sh", str(folder), str(program), __file__]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env={**os.environ, "LC_ALL": "C"})
    finally:
        with suppress(OSError):  # still busy: the next one removes it
            folder.rmdir()
        for old in folder.parent.glob("*.scope"):
            with suppress(OSError):
                old.rmdir()


@contextmanager
def churning(rate: float) -> Iterator[Churn]:
    """Cgroups come and go within the block; nothing is left of them."""
    churn = Churn(rate)
    parent = find_hierarchy(Path("/sys/fs/cgroup")).root / f"ebpf-sidecar-soak-{os.getpid()}"
    parent.mkdir()
    try:
        with tempfile.TemporaryDirectory() as work:
            thread = threading.Thread(target=churn.run, args=(parent, Path(work)), name="churn")
            thread.start()
            try:
                yield churn
            finally:
                churn.stopped.set()
                thread.join()
    finally:
        for folder in (*parent.iterdir(), parent):
            if folder.is_dir():
                folder.rmdir()
