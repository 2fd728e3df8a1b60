# SPDX-License-Identifier: Apache-2.0
"""A machine that builds software, as the frames that its receiver makes: no kernel, and the same numbers each time.

What is measured comes from the probes' own YAML. 60 cgroups, most of them containers, run ten programs each forever;
jobs of 50 short-lived processes run next to them, each process with a unique name. Rows of processes that have ended
stay, as they do in the receiver.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ebpf_sidecar.pipeline import ComponentKind, Frame, RowSet, Text
from ebpf_sidecar.pipeline.testing import NOON, fake_context
from ebpf_sidecar.processors.container import ContainerProcessor, ContainerSettings
from ebpf_sidecar.processors.rate import RateProcessor, RateSettings
from ebpf_sidecar.receivers.ebpf.frames.metric_frames import ReadingTime, ToFrame, frame_maker
from ebpf_sidecar.receivers.ebpf.maps.row_totals import Snapshot
from ebpf_sidecar.receivers.ebpf.probe.file import read_probe
from ebpf_sidecar.receivers.ebpf.probe.model import ELSE, Attribute, Metric, Probe, Slots, Spread, Sum

BPF = Path(__file__).parents[2] / "bpf"
PROBES = ("page_cache", "block_io", "syscalls")
SETTLED = 600
"""Processes that live for ever."""
PROGRAMS, STEPS = 10, 50
"""How many names a cgroup has, and a job."""
INTERVAL = 10
CALLS = (
    ("openat", ""),
    ("read", "file"),
    ("mmap", "file"),
    ("pread64", "file"),
    ("write", "file"),
    ("unlinkat", ""),
    ("renameat2", ""),
    ("read", "pipe"),
    ("write", "pipe"),
)
"""What a program of a build calls, of all calls that are followed, and the type of file. Pipes have no durations."""
ERRORS = (("openat", "", "ENOENT"), ("read", "pipe", "EAGAIN"))
DIRECTIONS = {"read": "read", "pread64": "read", "write": "write"}
ENTRIES = {
    "syscall_stats": (len(CALLS), 1),
    "syscall_errors": (len(ERRORS), 1),
    "fadvise_stats": (1, 20),
    "block_stats": (2, 4),
    "block_errors": (0, 1),
}
"""How many entries of a map a process has, and of how many processes one has any; otherwise one each."""
SLOTS = {"size": "SIZE_SLOTS", "queue": "BLOCK_SLOTS"}
Rows = tuple[RowSet, np.ndarray]


@dataclass(frozen=True)
class View:
    """The rows of a map that are distinguished by ``attributes``."""

    map: str
    attributes: tuple[Attribute, ...]

    def rows(self, processes: int) -> Rows:
        """The rows of the first ``processes``, and the number of each row's process."""
        entries, every = ENTRIES.get(self.map, (1, 1))
        all_words = [[self._word(each, entry) for each in self.attributes] for entry in range(entries)]
        reported = [words for words in all_words if None not in words][: None if self.attributes else 1]
        having = np.arange(0, processes, every)
        columns = owners(np.repeat(having, len(reported)))
        for place, attribute in enumerate(self.attributes):
            columns[attribute.name] = Text.of([str(words[place]) for words in reported] * len(having))
        process = np.repeat(having, len(reported))
        return RowSet(np.arange(len(process), dtype=np.uint64), columns), process

    def _word(self, attribute: Attribute, entry: int) -> str | None:
        """What an attribute of a process's entry says; None where the entry has no part in the metric."""
        call, file, error = ERRORS[entry] if self.map == "syscall_errors" else (*CALLS[entry % len(CALLS)], "")
        if attribute.name == "direction":
            return DIRECTIONS.get(call)
        if attribute.name == "file.type":
            return None if attribute.only and file == "pipe" else file
        if isinstance(attribute.decode, str):
            return {"syscall": call, "errno": error, "device": "nvme0n1"}[attribute.decode]
        words = [word for value, word in attribute.decode.items() if value != ELSE]
        return words[entry % len(words)]


def owners(process: np.ndarray) -> dict[str, Text]:
    """Cgroup and name of each process."""
    last, codes = int(process.max(initial=-1)) + 1, process.astype(np.int32)
    return {
        "process.linux.cgroup": Text(codes, tuple(map(cgroup, range(last)))),
        "process.executable.name": Text(codes, tuple(map(executable, range(last)))),
    }


def cgroup(process: int) -> str:
    """Six of ten are containers of pods, as kubelet names them."""
    if process >= SETTLED:
        return f"/system.slice/ci-runner.service/job-{(process - SETTLED) // STEPS}"
    place = process // PROGRAMS
    pod = f"/kubepods/burstable/pod{place:032x}/{place:064x}"
    return pod if place % 10 < 6 else f"/system.slice/service-{place}.service"


def executable(process: int) -> str:
    """At most 15 bytes, as the kernel keeps it."""
    return f"step-{process - SETTLED}" if process >= SETTLED else f"program-{process % PROGRAMS}"


@dataclass(frozen=True)
class Made:
    """How the frame of one metric is made. ``width``: columns of its map's value."""

    view: View
    width: int
    frame: ToFrame


@dataclass
class BuildMachine:
    """Readings of the machine. ``settled``: how many of its `SETTLED` processes there are."""

    settled: int = SETTLED
    probes: Sequence[str] = PROBES
    _rows: dict[tuple[str, tuple[str, ...], int], Rows] = field(default_factory=dict)
    _born: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        contexts = [fake_context(ComponentKind.PROCESSOR, name) for name in ("container", "rate")]
        self._container = ContainerProcessor(ContainerSettings(), contexts[0])
        self._rate = RateProcessor(RateSettings(), contexts[1])
        probes = [read_probe(BPF / f"{name}.yaml") for name in self.probes]
        self._made = [made(probe, metric) for probe in probes for metric in probe.metrics]

    def tick(self, number: int, short_lived: int = 0) -> Sequence[Frame]:
        """The frames of a reading, when so many short-lived processes have come in all."""
        self._born += [number] * (short_lived - len(self._born))
        reading_time = ReadingTime(NOON + number * INTERVAL * 10**9, {"service.name": "bench"})
        frames = [each.frame(self._snapshot(each, number, short_lived), reading_time) for each in self._made]
        return self._rate.process(self._container.process(frames))

    def _snapshot(self, each: Made, number: int, short_lived: int) -> Snapshot:
        rows, process = self._rows_of(each.view, SETTLED + short_lived)
        # a settled process works in each interval, a short-lived one in its only one
        work = np.where(process < SETTLED, number + 1, 1) * (1 + process % 13)
        totals = np.outer(work, 100 + np.arange(each.width) % 7).astype(np.uint64)
        # all that counts, counts since the reading before
        born = np.array([*[0] * SETTLED, *self._born])[process]
        starts = NOON + (born - 1) * INTERVAL * 10**9
        return Snapshot(rows, totals, starts.astype(np.uint64), np.zeros(len(rows), np.uint64))

    def _rows_of(self, view: View, processes: int) -> Rows:
        """The same object for as long as the rows are the same, as the receiver does it."""
        key = (view.map, tuple(f"{each.name} {each.only}" for each in view.attributes), processes)
        if key not in self._rows:
            self._rows = {known: rows for known, rows in self._rows.items() if known[2] == processes}
            rows, process = view.rows(processes)
            there = (process < self.settled) | (process >= SETTLED)
            self._rows[key] = rows.take(there), process[there]
        return self._rows[key]


def made(probe: Probe, metric: Metric) -> Made:
    """How the metric's frame is made, from a value that holds what the map's metrics name."""
    widths: dict[str, int] = {}
    for other in probe.metrics:
        for part, width in _parts(other, probe.macros) if other.map == metric.map else ():
            widths[part] = max(widths.get(part, 0), width)
    ends = np.cumsum([0, *widths.values()]).tolist()
    columns = {part: slice(first, end) for part, first, end in zip(widths, ends, ends[1:], strict=False)}
    return Made(View(metric.map, metric.attributes), ends[-1], frame_maker(metric, columns))


def _parts(metric: Metric, macros: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """The fields of a value that a metric is made from, and how many numbers each holds."""
    value = metric.value
    if isinstance(value, Slots):
        yield value.slots, macros[SLOTS.get(value.slots) or next(name for name in macros if name.endswith("_SLOTS"))]
        yield value.sum, 1
    elif isinstance(value, Spread):
        yield value.field, len(value.values)
    elif isinstance(value, Sum):
        for name in (*value.columns, *value.minus):
            part, _, place = name.partition("[")
            yield part, int(place.rstrip("]")) + 1 if place else 1
