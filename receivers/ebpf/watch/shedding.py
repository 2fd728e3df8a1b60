# SPDX-License-Identifier: Apache-2.0
"""Turning a probe off for good while others go on: its programs are detached, shared ones are told to do less."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from ebpf_sidecar.pipeline.frame import Frame
from ebpf_sidecar.pipeline.metric_info import gauge
from ebpf_sidecar.pipeline.rows import RowSet
from ebpf_sidecar.receivers.ebpf.frames.metric_frames import Moment, gauge_frame
from ebpf_sidecar.receivers.ebpf.kernel.fd_passing import release
from ebpf_sidecar.receivers.ebpf.loader.filling import packed
from ebpf_sidecar.receivers.ebpf.maps.loaded import Loaded
from ebpf_sidecar.receivers.ebpf.probe.model import Probe

from .overhead import Overhead

REASON = "max_overhead"
"""Why a hook is not attached any more."""

Calls = Mapping[int, Mapping[str, int]]

SHED = gauge(
    "ebpf.probe.shed",
    "{probe}",
    "1 where a probe was turned off because the probes took more than max_overhead",
    "probe",
)
OVERHEAD = gauge(
    "ebpf.probe.overhead", "1", "Share of the machine's processor time that all probes took in the last interval"
)


@dataclass
class Shedding:
    """Watches the overhead and turns probes off. ``calls_for``: what shared programs do for these probes, by number."""

    overhead: Overhead
    probes: Sequence[Probe]
    calls_for: Callable[[Sequence[Probe]], Calls]
    warn: Callable[[str], None]
    shed: list[str] = field(default_factory=list)
    """The probes that were turned off, in that order."""
    _said_stuck: bool = False

    def __post_init__(self) -> None:
        self._rows = RowSet.of([{"probe": probe.name} for probe in self.probes])
        self._one = RowSet.of([{}])

    def when_due(self, now: float, loaded: Loaded) -> Loaded | None:
        """What is left in the kernel, when a probe had to be turned off now. Raises `OSError` and `ProbeError`."""
        run_time = {program.name: program.runs()[1] for program in loaded.programs}
        chosen = self.overhead.judge(now, run_time, {hook.probe for hook in loaded.hooks if hook.attached})
        if chosen is None:
            self._say_when_stuck()
            return None
        shed = [*self.shed, chosen]
        still = [probe for probe in self.probes if probe.name not in shed]
        _rewrite_calls(loaded, self.calls_for(self.probes), self.calls_for(still))
        left = without(loaded, chosen, idle_maps(self.probes, shed))
        self.shed.append(chosen)  # now that it is
        self.warn(
            f'probe "{chosen}" was turned off: all probes took {_percent(self.overhead.share)} of the processors, more '
            f"than max_overhead ({_percent(self.overhead.limit)}) for several intervals; it stays off until a restart"
        )
        return left

    def _say_when_stuck(self) -> None:
        """Once: the others stay on, and the user chose them to."""
        if self.overhead.stuck and not self._said_stuck and len(self.shed) < len(self.probes):
            self._said_stuck = True
            self.warn(
                f"all probes take {_percent(self.overhead.share)} of the processors, more than max_overhead "
                f"({_percent(self.overhead.limit)}), and all that shed names are off; add probes to shed, or raise "
                "the limit"
            )

    def frames(self, moment: Moment) -> list[Frame]:
        """The measured share, and which probes are off."""
        off = [float(probe.name in self.shed) for probe in self.probes]
        frames = [gauge_frame(moment, SHED, (self._rows, off))]
        if self.overhead.share is not None:
            frames.append(gauge_frame(moment, OVERHEAD, (self._one, [self.overhead.share])))
        return frames


def idle_maps(probes: Sequence[Probe], shed: Sequence[str]) -> set[str]:
    """The maps (published names) that nobody fills who is not shed."""
    maps = {off: {s.published for p in probes if (p.name in shed) == off for s in p.maps} for off in (True, False)}
    return maps[True] - maps[False]


def without(loaded: Loaded, probe: str, idle: set[str], reason: str = REASON) -> Loaded:
    """Take the programs that serve ``probe`` alone, and the maps ``idle``, out of the kernel; what then is left.

    Raises `OSError` while all is there still.
    """
    hooks = tuple(replace(h, program="", reason=reason, brief="") if h.probe == probe else h for h in loaded.hooks)
    needed = {hook.program for hook in hooks}
    programs = [program for program in loaded.programs if program.name not in needed]
    maps = [loaded.maps[name] for name in idle & loaded.maps.keys()]
    behind = [*(program.descriptors for program in programs), *(kernel_map.descriptors for kernel_map in maps)]
    release(chain.from_iterable(behind))
    for kernel_map in maps:
        kernel_map.unmap()
    return replace(
        loaded,
        hooks=hooks,
        programs=tuple(program for program in loaded.programs if program.name in needed),
        maps={name: kernel_map for name, kernel_map in loaded.maps.items() if name not in idle},
    )


def _rewrite_calls(loaded: Loaded, before: Calls, after: Calls) -> None:
    """Programs at each system call's entry and return stay while a probe needs them: they do less from now on."""
    if loaded.calls is None:
        return
    for number in before:
        loaded.calls.write(number, int.from_bytes(packed(after.get(number, {})), sys.byteorder))


def _percent(share: float | None) -> str:
    return f"{100 * (share or 0.0):.3g}%"
