# SPDX-License-Identifier: Apache-2.0
"""Attaches loaded programs to their attach points. Runs in the loader child, which has the privileges."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from ebpf_sidecar.receivers.ebpf.kernel.perf_event import TRACEPOINT_EVENT, PerfEvent, open_event
from ebpf_sidecar.receivers.ebpf.kernel.tracefs import Tracefs
from ebpf_sidecar.receivers.ebpf.probe.model import PERF_EVENTS, AttachPoint

from .kernel_objects import open_tracepoint

BY_BPF = ("raw_tracepoint", "fentry", "fexit")
"""The types that bpf(2) attaches; the others are perf events, opened by perf_event_open(2)."""


def attach(program: int, point: AttachPoint, tracefs: Tracefs) -> list[int]:
    """Attach, and return the descriptors that keep the program attached. Raises `OSError`; then nothing is attached."""
    if point.attach == "perf_event":
        return _on_each_cpu(program, PERF_EVENTS[point.event])
    if point.attach in BY_BPF:
        at = point.event.partition(":")[2] if point.attach == "raw_tracepoint" else ""
        return [open_tracepoint(program, at)]
    return [_event(point, tracefs).open(program, online()[0])]


def _event(point: AttachPoint, tracefs: Tracefs) -> PerfEvent:
    if point.attach == "tracepoint":
        return PerfEvent(TRACEPOINT_EVENT, tracefs.number(point.event))
    # ends with its descriptor and leaves nothing in tracefs
    return PerfEvent(tracefs.kprobe_type(), tracefs.kretprobe_bit() if point.attach == "kretprobe" else 0, point.event)


def _on_each_cpu(program: int, event: int) -> list[int]:
    """Every event of all processes; see cpu_hotplug.py for CPUs that come online later."""
    attachments: list[int] = []
    for cpu in online():
        try:
            attachments.append(open_event(program, event, cpu))
        except OSError as error:
            if error.errno == errno.ENODEV:  # it has just gone offline
                continue
            for each in attachments:
                os.close(each)
            raise
    return attachments


def online(sys: Path = Path("/sys")) -> list[int]:
    """Numbers of the online CPUs, from ``0-3,6``."""
    parts = (sys / "devices/system/cpu/online").read_text(encoding="ascii").strip().split(",")
    ranges = [part.partition("-") for part in parts if part]
    return [number for first, _, last in ranges for number in range(int(first), int(last or first) + 1)]
