# SPDX-License-Identifier: Apache-2.0
"""Runs the workloads one by one, and judges their cases."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from ebpf_sidecar.pipeline.host import Paths
from ebpf_sidecar.receivers.ebpf.kernel.diskstats import Disks, names_of_disks, read_disks

from .case import CaseFile, Workload
from .judging import CaseResult, Preconditions, Run, judge, skipped
from .meter import Counted, Meter, measured
from .oracles import PAGE, Observation, Readings, cached_pages, read_faults, read_io, resident_pages
from .worker import Worker, WorkloadError
from .workspace import MIB, Workspace, forget

_ATTEMPTS = 3
_PATIENCE = 15.0
"""Workloads are repeated until this many seconds after the start: a run has to end on slow machines as well."""
Progress = Callable[[int, int, str], None]
"""Called before each workload with the number done, the total and a description; at the end without a text."""


class Sample(NamedTuple):
    """Everything at one time: the probes, with the disks right before and right after, and the other oracles."""

    disks: tuple[Disks, Disks]
    counted: Counted
    readings: Readings


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs the cases of ``file`` in ``workspace``, reading the probes through ``meter``."""

    file: CaseFile
    bench: Preconditions
    meter: Meter
    workspace: Workspace
    paths: Paths
    progress: Progress = lambda *_: None

    def run(self) -> list[CaseResult]:
        """A result for each case, in the order of the file. Raises `ProbeError` if the probes cannot be read."""
        obstacles = [self.bench.obstacle(case, self.file) for case in self.file.cases]
        wanted = {case.workload for case, why in zip(self.file.cases, obstacles, strict=True) if not why}
        names = [name for name in self.file.workloads if name in wanted]
        self.workspace.fill(self.workspace.data)
        patience = self.meter.clock.monotonic() + _PATIENCE
        results: dict[int, CaseResult] = {i: skipped(self.file.cases[i], why) for i, why in enumerate(obstacles) if why}
        for done, name in enumerate(names):
            self.progress(done, len(names), self.file.workloads[name].does)
            results |= self._results(name, [i for i in self._positions(name) if not obstacles[i]], patience)
        self.progress(len(names), len(names), "")
        return [results[i] for i in range(len(self.file.cases))]

    def _positions(self, workload: str) -> list[int]:
        return [i for i, case in enumerate(self.file.cases) if case.workload == workload]

    def _results(self, name: str, positions: list[int], patience: float) -> dict[int, CaseResult]:
        """Results of a workload's cases. Wrong ones are repeated: other processes may interfere (read the same file, or
        attach to the same hook), but a probe that is wrong is wrong every time."""
        results: dict[int, CaseResult] = {}
        for attempt in range(1, _ATTEMPTS + 1):
            again = [i for i in positions if attempt == 1 or results[i].verdict == "wrong"]
            if not again or (attempt > 1 and self.meter.clock.monotonic() > patience):
                break
            try:
                run = self._run(self.file.workloads[name])
            except WorkloadError as error:
                return {i: skipped(self.file.cases[i], str(error)) for i in positions}
            results |= {i: replace(judge(self.file.cases[i], run), attempts=attempt) for i in again}
        return results

    def _run(self, workload: Workload) -> Run:
        path = self._prepared(workload)
        step = PAGE if workload.step == "page" else workload.step
        # no other process on the machine has this name, in any container
        name = f"est-{secrets.token_hex(5)}"
        arguments = [workload.action, str(path), str(self.workspace.size), str(step)]
        ended = Worker(self.workspace.folder).run(workload.script, arguments, name, lambda pid: self._sample(pid, path))
        before, after = ended.before, ended.after
        observation = Observation(ended.facts, before.readings, after.readings, _bounds(before.disks, after.disks))
        disks = names_of_disks(self.paths.sys)
        return Run(
            observation,
            lambda case: measured(case, after.counted, name, disks) - measured(case, before.counted, name, disks),
        )

    def _prepared(self, workload: Workload) -> Path:
        path = self.workspace.folder / workload.file
        if workload.file == "new":
            path.unlink(missing_ok=True)
            return path
        if not path.exists():
            self.workspace.fill(path)
        if workload.cache == "cold":
            forget(path)
        elif workload.cache == "warm":
            _read(path)
        return path

    def _sample(self, pid: int, path: Path) -> Sample:
        faults = read_faults(pid, self.paths.proc)
        readings = Readings(read_io(pid, self.paths.proc), resident_pages(path), cached_pages(path), faults)
        earlier = read_disks(self.paths.proc, self.paths.sys)
        counted = self.meter.read()
        return Sample((earlier, read_disks(self.paths.proc, self.paths.sys)), counted, readings)


def _bounds(before: tuple[Disks, Disks], after: tuple[Disks, Disks]) -> tuple[Disks, Disks]:
    """The least and the most that can have happened between two readings of the probes."""
    return _less(after[0], before[1]), _less(after[1], before[0])


def _less(later: Disks, earlier: Disks) -> Disks:
    return Disks(
        {which: later.operations[which] - earlier.operations[which] for which in later.operations},
        {which: later.sizes[which] - earlier.sizes[which] for which in later.sizes},
    )


def _read(path: Path) -> None:
    with path.open("rb") as file:
        while file.read(MIB):
            pass
