# SPDX-License-Identifier: Apache-2.0
"""Turns a probe off permanently while others continue: its programs are detached, and shared ones do less."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from ebpf_sidecar.pipeline.frame import Frame
from ebpf_sidecar.pipeline.metric_info import gauge
from ebpf_sidecar.pipeline.rows import RowSet
from ebpf_sidecar.receivers.ebpf.frames.metric_frames import ReadingTime, gauge_frame
from ebpf_sidecar.receivers.ebpf.kernel.fd_passing import release_descriptors
from ebpf_sidecar.receivers.ebpf.loader.filling import packed
from ebpf_sidecar.receivers.ebpf.maps.loaded import LoadedProbes
from ebpf_sidecar.receivers.ebpf.probe.model import Probe

from .overhead import Overhead

REASON = "max_overhead"
"""Why a hook is no longer attached."""

Calls = Mapping[int, Mapping[str, int]]

SHED = gauge(
    "ebpf.probe.shed",
    "{probe}",
    "1 if a probe was turned off because the probes took more than max_overhead",
    "probe",
)
OVERHEAD = gauge(
    "ebpf.probe.overhead", "1", "Share of the machine's CPU time that all probes took in the last interval"
)


@dataclass
class Shedding:
    """Watches the overhead and turns probes off. ``calls_for``: what shared programs do for these probes, by number."""

    overhead: Overhead
    probes: Sequence[Probe]
    calls_for: Callable[[Sequence[Probe]], Calls]
    warn: Callable[[str], None]
    shed: list[str] = field(default_factory=list)
    """The probes that were turned off, in order."""
    _warned_stuck: bool = False

    def __post_init__(self) -> None:
        self._rows = RowSet.of([{"probe": probe.name} for probe in self.probes])
        self._one = RowSet.of([{}])

    def when_due(self, now: float, loaded: LoadedProbes) -> LoadedProbes | None:
        """What is left in the kernel if a probe was turned off now, otherwise None. Raises `OSError` and
        `ProbeError`."""
        run_time = {program.name: program.runs()[1] for program in loaded.programs}
        chosen = self.overhead.judge(now, run_time, {hook.probe for hook in loaded.hooks if hook.attached})
        if chosen is None:
            self._warn_when_stuck()
            return None
        shed = [*self.shed, chosen]
        still = [probe for probe in self.probes if probe.name not in shed]
        _rewrite_calls(loaded, self.calls_for(self.probes), self.calls_for(still))
        left = without(loaded, chosen, idle_maps(self.probes, shed))
        self.shed.append(chosen)  # only now that it is off
        self.warn(
            f'probe "{chosen}" was turned off: all probes took {_percent(self.overhead.share)} of all CPU time, more '
            f"than max_overhead ({_percent(self.overhead.limit)}) for several intervals; it stays off until a restart"
        )
        return left

    def _warn_when_stuck(self) -> None:
        """Warn once: the others stay on, as the user chose."""
        if self.overhead.stuck and not self._warned_stuck and len(self.shed) < len(self.probes):
            self._warned_stuck = True
            self.warn(
                f"all probes take {_percent(self.overhead.share)} of all CPU time, more than max_overhead "
                f"({_percent(self.overhead.limit)}), and all probes in shed are off; add probes to shed, or raise "
                "the limit"
            )

    def frames(self, reading_time: ReadingTime) -> list[Frame]:
        """The measured share, and which probes are off."""
        off = [float(probe.name in self.shed) for probe in self.probes]
        frames = [gauge_frame(reading_time, SHED, (self._rows, off))]
        if self.overhead.share is not None:
            frames.append(gauge_frame(reading_time, OVERHEAD, (self._one, [self.overhead.share])))
        return frames


def idle_maps(probes: Sequence[Probe], shed: Sequence[str]) -> set[str]:
    """The maps (published names) that only probes that were turned off fill."""
    maps = {off: {s.published for p in probes if (p.name in shed) == off for s in p.maps} for off in (True, False)}
    return maps[True] - maps[False]


def without(loaded: LoadedProbes, probe: str, idle: set[str], reason: str = REASON) -> LoadedProbes:
    """Remove the programs that serve only ``probe``, and the maps ``idle``, from the kernel; return what is left.

    Raises `OSError` before anything is removed.
    """
    hooks = tuple(replace(h, program="", reason=reason, brief="") if h.probe == probe else h for h in loaded.hooks)
    needed = {hook.program for hook in hooks}
    programs = [program for program in loaded.programs if program.name not in needed]
    maps = [loaded.maps[name] for name in idle & loaded.maps.keys()]
    objects = [*(program.descriptors for program in programs), *(kernel_map.descriptors for kernel_map in maps)]
    release_descriptors(chain.from_iterable(objects))
    for kernel_map in maps:
        kernel_map.unmap()
    return replace(
        loaded,
        hooks=hooks,
        programs=tuple(program for program in loaded.programs if program.name in needed),
        maps={name: kernel_map for name, kernel_map in loaded.maps.items() if name not in idle},
    )


def _rewrite_calls(loaded: LoadedProbes, before: Calls, after: Calls) -> None:
    """Programs at each system call's entry and exit stay while a probe needs them, but do less from now on."""
    if loaded.calls is None:
        return
    for number in before:
        loaded.calls.write(number, int.from_bytes(packed(after.get(number, {})), sys.byteorder))


def _percent(share: float | None) -> str:
    return f"{100 * (share or 0.0):.3g}%"
