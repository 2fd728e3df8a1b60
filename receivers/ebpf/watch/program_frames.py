# SPDX-License-Identifier: Apache-2.0
"""Frames about each program: how often it ran, for how long, and how often it was skipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ebpf_sidecar.pipeline.frame import Frame
from ebpf_sidecar.pipeline.metric_info import counter
from ebpf_sidecar.pipeline.rows import RowSet
from ebpf_sidecar.receivers.ebpf.frames.metric_frames import ReadingTime, counter_frame
from ebpf_sidecar.receivers.ebpf.maps.loaded import HookStatus, LoadedProbes, Program

NO_STATISTICS = (
    "the kernel does not count runs: BPF_ENABLE_STATS is refused (it needs CAP_SYS_ADMIN) and "
    "kernel.bpf_stats_enabled is 0; grant CAP_SYS_ADMIN, or run sysctl kernel.bpf_stats_enabled=1"
)
"""Why run statistics are absent."""

_MISSES_SINCE = (5, 12)
_ATTRIBUTES = ("probe", "hook", "program")
MISSED_RUNS = counter(
    "ebpf.probe.missed_runs",
    "{run}",
    "Events at which a program was skipped, because the CPU was already running one",
    *_ATTRIBUTES,
)
RUNS = counter("ebpf.probe.runs", "{run}", "Runs of a program in the kernel", *_ATTRIBUTES)
RUN_TIME = counter("ebpf.probe.run_time", "s", "Time spent in a program", *_ATTRIBUTES)


@dataclass
class ProgramFrames:
    """Makes the frames. ``start``: when the programs were loaded, ns since the epoch. ``release``: the kernel's.

    ``counting``: whether the kernel counts runs for us; otherwise those frames are absent, never zero.
    """

    loaded: LoadedProbes
    start: int
    release: tuple[int, int]
    counting: bool = False
    _missed: dict[str, int] = field(default_factory=dict)
    _all: RowSet = field(init=False)
    _rows: RowSet = field(init=False)
    _programs: tuple[Program, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._all = RowSet.of([_described(program, self.loaded.hooks) for program in self.loaded.programs])
        self.follow(self.loaded.hooks)

    def follow(self, hooks: Sequence[HookStatus]) -> None:
        """From now on show the programs of the attached hooks among ``hooks``; rows keep their description."""
        at_work = {hook.program for hook in hooks}
        chosen = [i for i, program in enumerate(self.loaded.programs) if program.name in at_work]
        self._programs = tuple(self.loaded.programs[i] for i in chosen)
        self._rows = self._all.take(np.array(chosen, np.intp))

    def frames(self, reading_time: ReadingTime) -> list[Frame]:
        """The current frames. Raises `OSError` if the kernel does not answer."""
        frames = []
        if self.release >= _MISSES_SINCE:
            missed = np.array([self._missed_by(program) for program in self._programs], np.uint64)
            frames.append(counter_frame(reading_time, MISSED_RUNS, (self._rows, missed), self.start))
        if self.counting:
            runs = np.array([program.runs() for program in self._programs], np.uint64).reshape(-1, 2)
            frames += [
                counter_frame(reading_time, RUNS, (self._rows, runs[:, 0]), self.start),
                counter_frame(reading_time, RUN_TIME, (self._rows, runs[:, 1] / 1e9), self.start),
            ]
        return frames

    def missed(self) -> int | None:
        """How many runs were skipped, as of the last reading, also of programs that are no longer attached; None if the
        kernel does not count them."""
        return sum(self._missed.values()) if self.release >= _MISSES_SINCE else None

    def _missed_by(self, program: Program) -> int:
        self._missed[program.name] = missed = program.missed()
        return missed


def probes_of(program: str, hooks: Sequence[HookStatus]) -> tuple[str, ...]:
    """The probes that a program works for."""
    return tuple(dict.fromkeys(hook.probe for hook in hooks if hook.program == program))


def _described(program: Program, hooks: Sequence[HookStatus]) -> Mapping[str, str]:
    """A shared program names all its probes: one row for each would count its time twice."""
    names = {hook.hook for hook in hooks if hook.program == program.name}
    return {
        "probe": ",".join(probes_of(program.name, hooks)),
        "hook": names.pop() if len(names) == 1 else "",
        "program": program.name,
    }
