# SPDX-License-Identifier: Apache-2.0
"""Programs that were already running when the kernel started to report them: read once from /proc."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ebpf_sidecar.pipeline.container_path import cgroup_paths
from ebpf_sidecar.receivers.ebpf.maps.layout import COMM_BYTES

from .cgroup_tree import decoded

AskExecutable = Callable[[int], str]
"""Returns a process's executable if we may not read it ourselves. Raises `OSError`."""


@dataclass(frozen=True, slots=True)
class Running:
    """A process whose name has 15 bytes. ``cgroup``: its path by controller, "" for version 2.

    ``name``: the full name; empty if unknown, as for a name that the process chose itself.
    """

    pid: int
    comm: bytes
    cgroup: dict[str, str]
    name: bytes


def running_programs(proc: Path, ask: AskExecutable) -> Iterator[Running]:
    """All such processes, except those that end meanwhile; none without /proc."""
    with suppress(OSError):
        for entry in os.scandir(proc):
            if entry.name.isdecimal():
                process = proc / entry.name
                comm = _content(process / "comm").removesuffix(b"\n")
                if len(comm) == COMM_BYTES:
                    cgroup = cgroup_paths(decoded(_content(process / "cgroup")))
                    yield Running(int(entry.name), comm, cgroup, _full_name(process, comm, ask))


def _full_name(process: Path, comm: bytes, ask: AskExecutable) -> bytes:
    """The name that starts with ``comm``, from the executable or the first words of the command line; empty if none."""
    for path in _paths(process, ask):
        name = path.rpartition(b"/")[2]
        # white space means a title that the process wrote over its command line, not a file name
        if name.startswith(comm) and not set(name) & set(b" \t\n"):
            return name
    return b""


def _paths(process: Path, ask: AskExecutable) -> Iterator[bytes]:
    with suppress(OSError):  # a kernel thread, or not readable
        yield os.fsencode(_executable(process, ask)).removesuffix(b" (deleted)")
    # a script's name is the second word, after its interpreter's
    yield from _content(process / "cmdline").split(b"\0")[:2]


def _executable(process: Path, ask: AskExecutable) -> str:
    try:
        return os.readlink(process / "exe")  # noqa: PTH115 # a deleted file has no valid path
    except PermissionError:
        return ask(int(process.name))


def _content(file: Path) -> bytes:
    """The content of a file in /proc; empty if the process is gone or not readable."""
    try:
        return file.read_bytes()
    except OSError:
        return b""
