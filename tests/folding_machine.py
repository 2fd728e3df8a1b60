# SPDX-License-Identifier: Apache-2.0
"""A machine whose processes come, work and go, and a folded page; shared by several test files."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np

from ebpf_sidecar.pipeline import Kind, RowSet
from ebpf_sidecar.pipeline.cardinality.folding import Folding
from ebpf_sidecar.pipeline.testing import NOON, frame

SECOND = 1_000_000_000
EXPIRATION = 300.0
BOUNDS = (0.001, 1.0)
CALLS = ("read", "write")
CGROUP, NAME = "process.linux.cgroup", "process.executable.name"


def lines(frame):
    """The samples of a row, as on a page."""
    return 1 if frame.bounds is None else len(frame.bounds) + 3


@dataclass
class Machine:
    """Counts what processes do, as a receiver does: rows keep their ids and totals while they are away."""

    now: float = 0.0
    seconds: dict = field(default_factory=dict)
    bytes: dict = field(default_factory=dict)
    ids: defaultdict = field(default_factory=lambda: defaultdict(Counter))
    sets: dict = field(default_factory=dict)
    full: dict = field(default_factory=dict)
    """The full names of processes, once they are known."""

    def work(self, process, amount, call="read"):
        """``process``, a cgroup and a name, makes as many calls of a millisecond, and moves as many bytes."""
        self.seconds[*process, call] = self.seconds.get((*process, call), 0) + amount
        self.bytes[process] = self.bytes.get(process, 0) + amount

    def frames(self, away=()):
        """What is reported now: all processes but those that are away."""
        calls = {key: total for key, total in self.seconds.items() if key[:2] not in away}
        moved = {key: total for key, total in self.bytes.items() if key not in away}
        durations = [[total, 0, 0] for total in calls.values()]
        time = {"time_unix_nano": NOON + int(self.now * SECOND), "start_time_unix_nano": NOON - SECOND}
        syscalls = self.rows("duration", calls)
        sums = [total * 0.001 for total in calls.values()]
        return [
            frame("duration", np.array(durations).reshape(-1, 3), syscalls, unit="s", bounds=BOUNDS, sums=sums, **time),
            frame("bytes", list(moved.values()), self.rows("bytes", moved), unit="By", **time),
        ]

    def rows(self, metric, keys):
        """The same row set while the same rows are reported."""
        known = self.sets.get(metric)
        keys = {key: (key[0], self.full.get(key[:2], key[1]), *key[2:]) for key in keys}
        if known is None or known[0] != keys:
            numbers = self.ids[metric]
            ids = [numbers.setdefault(key, len(numbers)) for key in keys]
            columns = (CGROUP, NAME, "syscall")
            records = [dict(zip(columns, shown, strict=False)) for shown in keys.values()]
            self.sets[metric] = (keys, RowSet(np.array(ids, np.uint64), RowSet.of(records).columns))
        return self.sets[metric][1]


class Page:
    """Folds what a machine reports and checks each interval against it."""

    def __init__(self, budget=200, expiration=EXPIRATION):
        self.budget, self.expiration = budget, expiration
        self.folding = Folding(budget, expiration, lines)
        self.before, self.after, self.shown, self.names = {}, {}, {}, {}

    def tick(self, machine, seconds=10.0, away=(), frames=None):
        """Let time pass and take in what the machine reports; the frames that are passed on."""
        machine.now += seconds
        frames = machine.frames(away) if frames is None else frames
        folded = self.folding.fold(frames, machine.now)
        self._compare(frames, folded)
        self._look(folded, machine.now)
        return folded

    def _compare(self, frames, folded):
        """In this interval the sum of all increases equals that of the original rows."""
        for one, other in zip(frames, folded, strict=True):
            if one.kind in (Kind.COUNTER, Kind.HISTOGRAM):
                assert (growth(one, self.before) == growth(other, self.after)).all(), one.name
                assert abs(sums(one, self.before) - sums(other, self.after)) < 1e-6, one.name

    def _look(self, folded, now):
        """No series falls while it is on the page, none is there twice, and the budget is kept."""
        for each in folded:
            falls = each.kind in (Kind.GAUGE, Kind.UPDOWNCOUNTER)
            assert len(set(labels(each))) == len(each)
            for id_, name, values in zip(each.rows.ids.tolist(), labels(each), numbers(each), strict=True):
                former = self.names.get((each.name, id_), name)
                if former != name:  # a row that got another name leaves no series behind
                    self.shown.pop((each.name, former), None)
                self.names[each.name, id_] = name
                old, seen, _ = self.shown.get((each.name, name), (values, now, 0))
                assert falls or now - seen > self.expiration or all(values >= old)
                self.shown[each.name, name] = values, now, lines(each)
        assert self.budget >= self.size(now)

    def size(self, now):
        """The series of the page, including those of rows that are no longer reported."""
        return sum(size for _, seen, size in self.shown.values() if now - seen <= self.expiration)


def labels(frame):
    """The attributes of each row, as on a page."""
    return [tuple(sorted(record.items())) for record in frame.rows.records()]


def numbers(frame):
    """Each row's values, as Python's own numbers."""
    return (frame.values if frame.values.ndim > 1 else frame.values[:, None]).astype(object)


def growth(frame, before):
    """By how much all rows of a frame grew together, bucket by bucket; the end of ``before`` are their values."""
    total, starts = np.zeros(numbers(frame).shape[1:], object), frame.start_times().tolist()
    for row, start, values in zip(frame.rows.ids.tolist(), starts, numbers(frame), strict=True):
        started, old = before.get((frame.name, row), (start, 0))
        total = total + values - (old if started == start else 0)
        before[frame.name, row] = start, values
    return np.asarray(total)


def sums(frame, before):
    """By how much the sums of a histogram grew together."""
    if frame.sums is None:
        return 0.0
    whole = before.get((frame.name, "sums"), {})
    total = 0.0
    for row, start, value in zip(
        frame.rows.ids.tolist(), frame.start_times().tolist(), frame.sums.tolist(), strict=True
    ):
        started, old = whole.get(row, (start, 0.0))
        total += value - (old if started == start else 0.0)
        whole[row] = start, value
    before[frame.name, "sums"] = whole
    return total


def names(folded, cgroup=None):
    """The process names that rows have, of one cgroup or of all."""
    records = [record for frame in folded for record in frame.rows.records()]
    return {
        record.get("process.executable.name", "")
        for record in records
        if cgroup in (None, record.get("process.linux.cgroup"))
    }


def crowd(number, cgroup="/c", first_id=0):
    """Rows of as many processes of a cgroup."""
    return RowSet.of([{CGROUP: cgroup, NAME: f"p{n}", "cause": "read"} for n in range(number)], first_id)


def at(second, name, values, rows, **parts):
    """A frame that was read at a second."""
    return frame(name, values, rows, time_unix_nano=NOON + int(second * SECOND), **parts)


def values(folded):
    """The value of each row by its process name; the overflow row has none."""
    return {dict(key).get(NAME, ""): value for key, value in zip(labels(folded), folded.values.tolist(), strict=True)}
