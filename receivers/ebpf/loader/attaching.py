# SPDX-License-Identifier: Apache-2.0
"""Attaches loaded programs, each in its way. Runs in the loader child, which has the rights."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from ebpf_sidecar.receivers.ebpf.kernel.perf_event import TRACEPOINT_EVENT, PerfEvent, open_event
from ebpf_sidecar.receivers.ebpf.kernel.tracefs import Tracefs
from ebpf_sidecar.receivers.ebpf.loading.request import Way
from ebpf_sidecar.receivers.ebpf.probe.model import PERF_EVENTS

from .kernel_objects import open_tracepoint

BY_BPF = ("raw_tracepoint", "fentry", "fexit")
"""The ways that bpf(2) attaches; the others are perf events, opened by perf_event_open(2)."""


def attach(program: int, way: Way, tracefs: Tracefs) -> list[int]:
    """Descriptors that keep the program attached. Raises `OSError`, and leaves nothing attached then."""
    if way.attach == "perf_event":
        return _on_each_processor(program, PERF_EVENTS[way.event])
    if way.attach in BY_BPF:
        at = way.event.partition(":")[2] if way.attach == "raw_tracepoint" else ""
        return [open_tracepoint(program, at)]
    return [_event(way, tracefs).open(program, online()[0])]


def _event(way: Way, tracefs: Tracefs) -> PerfEvent:
    if way.attach == "tracepoint":
        return PerfEvent(TRACEPOINT_EVENT, tracefs.number(way.event))
    # goes with its descriptor and leaves nothing in tracefs
    return PerfEvent(tracefs.kprobe_type(), tracefs.kretprobe_bit() if way.attach == "kretprobe" else 0, way.event)


def _on_each_processor(program: int, event: int) -> list[int]:
    """Every single event of all processes; see cpu_hotplug.py for processors that come later."""
    attachments: list[int] = []
    for processor in online():
        try:
            attachments.append(open_event(program, event, processor))
        except OSError as error:
            if error.errno == errno.ENODEV:  # it has just gone
                continue
            for each in attachments:
                os.close(each)
            raise
    return attachments


def online(sys: Path = Path("/sys")) -> list[int]:
    """Numbers of the processors at work, from ``0-3,6``."""
    parts = (sys / "devices/system/cpu/online").read_text(encoding="ascii").strip().split(",")
    ranges = [part.partition("-") for part in parts if part]
    return [number for first, _, last in ranges for number in range(int(first), int(last or first) + 1)]
