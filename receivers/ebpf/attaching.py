# SPDX-License-Identifier: Apache-2.0
"""Attaches loaded programs, each in its way. Runs in the loader child, which brings the library."""

from __future__ import annotations

import ctypes
import errno
from pathlib import Path
from typing import Any

from .perf_event import SOFTWARE_EVENT
from .probe import PERF_EVENTS
from .request import Way

BY_BPF = ("raw_tracepoint", "fentry", "fexit")
"""The ways that bpf(2) attaches; the others are perf events, opened by perf_event_open(2)."""
_ENTRY, _RETURN = 0, 1


def attach(lib: Any, program: int, way: Way) -> list[int]:
    """Descriptors that keep the program attached; one is negative when that failed, and errno tells why.

    ``lib``: BCC's library.
    """
    category, _, name = (part.encode() for part in way.event.partition(":"))
    if way.attach == "perf_event":
        return _on_each_processor(lib, program, PERF_EVENTS[way.event])
    if way.attach == "raw_tracepoint":
        return [int(lib.bpf_attach_raw_tracepoint(program, name))]
    if way.attach == "tracepoint":
        return [int(lib.bpf_attach_tracepoint(program, category, name))]
    if way.attach in BY_BPF:
        return [int(lib.bpf_attach_kfunc(program))]
    # a perf event, which goes with its descriptor and leaves nothing in tracefs; the name before it is not used then
    place = _RETURN if way.attach == "kretprobe" else _ENTRY
    return [int(lib.bpf_attach_kprobe(program, place, b"p_" + category, category, 0, 0))]


def _on_each_processor(lib: Any, program: int, event: int) -> list[int]:
    """Every single event (period 1) of all processes; see processors.py for processors that come later."""
    attachments = []
    for processor in online():
        opened = int(lib.bpf_attach_perf_event(program, SOFTWARE_EVENT, event, 1, 0, -1, processor, -1))
        if opened < 0 and ctypes.get_errno() == errno.ENODEV:  # it has just gone
            continue
        attachments.append(opened)
        if opened < 0:
            break
    return attachments


def online(sys: Path = Path("/sys")) -> list[int]:
    """Numbers of the processors at work, from ``0-3,6``."""
    parts = (sys / "devices/system/cpu/online").read_text(encoding="ascii").strip().split(",")
    ranges = [part.partition("-") for part in parts if part]
    return [number for first, _, last in ranges for number in range(int(first), int(last or first) + 1)]
