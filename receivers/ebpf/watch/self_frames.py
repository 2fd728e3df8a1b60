# SPDX-License-Identifier: Apache-2.0
"""The receiver's frames about its own state in the kernel: hooks, maps, and events that could not be counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from ebpf_sidecar.pipeline.frame import Frame
from ebpf_sidecar.pipeline.metric_info import counter, gauge
from ebpf_sidecar.pipeline.rows import RowSet
from ebpf_sidecar.receivers.ebpf.frames.metric_frames import ReadingTime, counter_frame, gauge_frame
from ebpf_sidecar.receivers.ebpf.kernel.namespaces import in_host_namespace
from ebpf_sidecar.receivers.ebpf.maps.loaded import LoadedProbes

from .canary import HookName, Liveness

_THREADS = "threads"

ENTRIES = gauge("ebpf.map.entries", "{entry}", "Live entries of a kernel map", "map")
CAPACITY = gauge("ebpf.map.capacity", "{entry}", "Entries that a kernel map can hold", "map")
MEMORY = gauge("ebpf.map.memory", "By", "Kernel memory of a map", "map")
ATTACHED = gauge("ebpf.probe.attached", "{hook}", "1 where a probe's hook is attached", "probe", "hook", "reason")
FOLLOWED = gauge(
    "ebpf.tracked_pids",
    "{process}",
    "Processes whose system calls are followed now; absent outside the host's PID namespace",
)
LIVE = gauge(
    "ebpf.probe.live",
    "{hook}",
    "1 if an attached hook was seen to fire, 0 if it did not although it was triggered",
    "probe",
    "hook",
)
COVERAGE = gauge(
    "ebpf.attribution.coverage",
    "1",
    "Share of what was counted whose cgroup is known: the mean of all counters' shares",
)
DROPPED = counter(
    "ebpf.dropped.events",
    "{event}",
    "Kernel events that could not be counted; the reason is the map that was full, or a word",
    "reason",
)
FRAMES = (ENTRIES, CAPACITY, MEMORY, ATTACHED, FOLLOWED, LIVE, COVERAGE, DROPPED)


@dataclass
class SelfFrames:
    """Makes the frames. ``proc``: where /proc is mounted; ``start``: when the probes were attached, ns since the
    epoch."""

    loaded: LoadedProbes
    proc: Path
    start: int
    dropped: Mapping[str, int] = field(init=False)
    """Events that could not be counted, by reason, as of the last reading."""
    _maps: RowSet = field(init=False)
    _hooks: RowSet = field(init=False)
    _drops: RowSet = field(init=False)
    _attached: list[int] = field(init=False)
    _sees_all: bool = field(init=False)
    _capacities: list[int] = field(init=False)
    _firing: tuple[tuple[HookName, ...], RowSet] = field(default_factory=lambda: ((), RowSet.of([])))
    _one: RowSet = field(default_factory=lambda: RowSet.of([{}]))

    def __post_init__(self) -> None:
        self._maps = RowSet.of([{"map": name} for name in self.loaded.maps])
        self._hooks = RowSet.of([_hook(hook.probe, hook.hook, hook.in_brief) for hook in self.loaded.hooks])
        self._attached = [int(hook.attached) for hook in self.loaded.hooks]
        self._capacities = [kernel_map.max_entries for kernel_map in self.loaded.maps.values()]
        self.dropped = dict.fromkeys(self.loaded.drops.reasons, 0)
        self._drops = RowSet.of([{"reason": reason} for reason in self.loaded.drops.reasons])
        self._sees_all = in_host_namespace("pid", self.proc) is not False

    def follow(self, loaded: LoadedProbes) -> None:
        """From now on report the hooks as they are in ``loaded``; a row that was 1 (attached) continues as 0."""
        changed = [new for old, new in zip(self.loaded.hooks, loaded.hooks, strict=True) if old != new]
        reported = [_hook(**{"reason": "", **row}) for row in self._hooks.records()]
        states = [int(new.attached) for new in loaded.hooks]
        self._attached = states + [0] * (len(reported) - len(states) + len(changed))
        self._hooks = RowSet.of([*reported, *(_hook(hook.probe, hook.hook, hook.in_brief) for hook in changed)])
        left = [i for i, name in enumerate(self.loaded.maps) if name in loaded.maps]
        self._maps = self._maps.take(np.array(left, np.intp))
        self._capacities = [kernel_map.max_entries for kernel_map in loaded.maps.values()]
        self.loaded = loaded

    def frames(
        self,
        reading_time: ReadingTime,
        entries: Mapping[str, int],
        coverage: float | None,
        firing: Mapping[HookName, Liveness],
    ) -> list[Frame]:
        """The current frames. ``entries``: live entries of the maps that were read anyway; others are counted here.

        ``firing``: what is known about attached hooks; unknown ones are absent, never 0.
        """
        maps, threads = self.loaded.maps, self._thread_ids()
        counted = {name: entries.get(name, len(threads) if name == _THREADS else -1) for name in maps}
        live = [len(maps[name].read()[0]) if count < 0 else count for name, count in counted.items()]
        made = partial(gauge_frame, reading_time)
        gauges = [
            made(ENTRIES, (self._maps, live)),
            made(CAPACITY, (self._maps, self._capacities)),
            made(MEMORY, (self._maps, [kernel_map.memory() for kernel_map in maps.values()])),
            made(ATTACHED, (self._hooks, self._attached)),
        ]
        if self._sees_all:
            gauges.append(made(FOLLOWED, (self._one, [self._processes(threads)])))
        known = {name: int(each.live) for name, each in firing.items() if each.live is not None}
        if known:
            gauges.append(made(LIVE, (self._rows_of(tuple(known)), list(known.values()))))
        if coverage is not None:
            gauges.append(made(COVERAGE, (self._one, [coverage])))
        return [*gauges, self._dropped(reading_time)]

    def _thread_ids(self) -> Sequence[int]:
        threads = self.loaded.maps.get(_THREADS)
        return threads.read()[0]["key"].tolist() if threads is not None else ()

    def _rows_of(self, names: tuple[HookName, ...]) -> RowSet:
        """The rows of some hooks; each keeps its row id, whichever others are among them."""
        if names != self._firing[0]:
            hooks = [(hook.probe, hook.hook) for hook in self.loaded.hooks]
            rows = RowSet.of([{"probe": probe, "hook": hook} for probe, hook in hooks])
            self._firing = (names, rows.take(np.array([hooks.index(name) for name in names], np.intp)))
        return self._firing[1]

    def _processes(self, threads: Sequence[int]) -> int:
        """How many of the threads are thread group leaders: /proc lists only their folders."""
        try:
            return len(set(map(str, threads)).intersection(folder.name for folder in self.proc.iterdir()))
        except OSError:
            return 0

    def _dropped(self, reading_time: ReadingTime) -> Frame:
        self.dropped = self.loaded.drops.read()
        values = np.array(list(self.dropped.values()), np.uint64)
        return counter_frame(reading_time, DROPPED, (self._drops, values), self.start)


def _hook(probe: str, hook: str, reason: str) -> dict[str, str]:
    return {"probe": probe, "hook": hook, "reason": reason}
