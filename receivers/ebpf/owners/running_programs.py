# SPDX-License-Identifier: Apache-2.0
"""Programs that ran before the kernel was asked to tell of them: from /proc, once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ebpf_sidecar.pipeline.container_path import cgroup_paths
from ebpf_sidecar.receivers.ebpf.maps.layout import COMM_BYTES

from .cgroup_tree import shown

Ask = Callable[[int], str]
"""Tells a process's executable where we may not look. Raises `OSError`."""


@dataclass(frozen=True, slots=True)
class Running:
    """A process whose name is of 15 bytes. ``cgroup``: its path by controller, "" for version 2.

    ``name``: the whole one; empty where nothing tells it, as of a name that the process chose.
    """

    pid: int
    comm: bytes
    cgroup: dict[str, str]
    name: bytes


def running_programs(proc: Path, ask: Ask) -> Iterator[Running]:
    """All of them. A process that ends meanwhile is left out; without /proc there is none."""
    with suppress(OSError):
        for entry in os.scandir(proc):
            if entry.name.isdecimal():
                process = proc / entry.name
                comm = _content(process / "comm").removesuffix(b"\n")
                if len(comm) == COMM_BYTES:
                    cgroup = cgroup_paths(shown(_content(process / "cgroup")))
                    yield Running(int(entry.name), comm, cgroup, _full_name(process, comm, ask))


def _full_name(process: Path, comm: bytes, ask: Ask) -> bytes:
    """The name that begins with ``comm`` among the executable's and the command line's first words; empty if none."""
    for path in _paths(process, ask):
        name = path.rpartition(b"/")[2]
        # white space: a title that the process wrote over its command line, not a file's name
        if name.startswith(comm) and not set(name) & set(b" \t\n"):
            return name
    return b""


def _paths(process: Path, ask: Ask) -> Iterator[bytes]:
    with suppress(OSError):  # a kernel thread, or nobody may look
        yield os.fsencode(_executable(process, ask)).removesuffix(b" (deleted)")
    # a script's name is the second word, after its interpreter's
    yield from _content(process / "cmdline").split(b"\0")[:2]


def _executable(process: Path, ask: Ask) -> str:
    try:
        return os.readlink(process / "exe")  # noqa: PTH115 # a deleted file's is no path
    except PermissionError:
        return ask(int(process.name))


def _content(file: Path) -> bytes:
    """The file of /proc; empty when the process is gone or not ours to look at."""
    try:
        return file.read_bytes()
    except OSError:
        return b""
