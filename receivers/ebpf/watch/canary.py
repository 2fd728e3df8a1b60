# SPDX-License-Identifier: Apache-2.0
"""Checks that attached hooks fire: triggers each one and checks whether its program ran.

The evidence is the kernel's count of runs, if permitted (CAP_SYS_ADMIN), otherwise a map that must have increased. What
cannot be determined stays unknown: neither live nor dead. Hooks that must not be triggered on purpose are live once a
metric, or a count of runs, shows that they fired.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.errors import ProbeError
from ebpf_sidecar.pipeline.frame import Frame
from ebpf_sidecar.pipeline.rows import Text
from ebpf_sidecar.receivers.ebpf.kernel.bpf_stats import run_statistics
from ebpf_sidecar.receivers.ebpf.maps.loaded import HookStatus, LoadedProbes
from ebpf_sidecar.receivers.ebpf.probe.model import NO_ACTION, CanarySpec, Probe, ShownBy

from .bounded_actions import BoundedActions
from .canary_actions import Actions, Problems

HookName = tuple[str, str]
"""Probe and hook."""


@dataclass(frozen=True, slots=True)
class Liveness:
    """``live``: None if unknown. ``reason``: why not live, or why unknown."""

    live: bool | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Counters:
    """A sample: how often programs ran, by name, and the sums of map columns, by ``map.field``."""

    runs: Mapping[str, int]
    maps: Mapping[str, int]


@dataclass
class Canary:
    """Examines the attached hooks of ``probes`` every ``interval`` seconds, or only once if that is 0.

    ``act`` performs actions and returns which it could not; ``warn`` is called once for each hook found dead.
    ``selective``: maps count only targets, perhaps not us, so one that does not increase proves nothing.
    """

    probes: Sequence[Probe]
    loaded: LoadedProbes
    interval: float
    warn: Callable[[str], None]
    act: Callable[[Collection[str]], Problems] = field(default_factory=lambda: Actions().do)
    statistics: Callable[[], AbstractContextManager[bool]] = run_statistics
    selective: bool = False
    found: Mapping[HookName, Liveness] = field(default_factory=dict)
    _due: float | None = None
    _warned: set[HookName] = field(default_factory=set)
    _retry: bool = False
    _warned_late: bool = False
    _fired: set[HookName] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._bounded = BoundedActions(self.act)
        specs = {(status.probe, status.hook): spec for _, status, spec in _attached_hooks(self.probes, self.loaded)}
        self._passive = {name: spec.shown_by for name, spec in specs.items() if spec and spec.action == NO_ACTION}

    def follow(self, loaded: LoadedProbes) -> None:
        """From now on examine the hooks that are attached in ``loaded``."""
        self.loaded = loaded
        attached = {(hook.probe, hook.hook) for hook in loaded.hooks if hook.attached}
        self.found = {name: each for name, each in self.found.items() if name in attached}

    def notice(self, frames: Sequence[Frame]) -> None:
        """Use metrics as evidence for the hooks that must not be triggered on purpose."""
        unseen = [(name, shown) for name, shown in self._passive.items() if shown and name not in self._fired]
        self._remember({name for name, shown in unseen if _is_shown(shown, frames)})

    def when_due(self, now: float) -> None:
        """Examine if due. ``now``: monotonic seconds. Never raises; a failure makes hooks unknown."""
        retry = self._retry and not self._bounded.waiting
        if not retry and self._due is not None and (self.interval <= 0 or now < self._due):
            return
        self._due = now + self.interval
        try:
            self.found = examine(self.probes, self.loaded, self._bounded.do, self.statistics, selective=self.selective)
        except (OSError, ProbeError) as error:
            self.found = {name: Liveness(None, str(error)) for name in self.found}
        self._remember({name for name, each in self.found.items() if each.live and name in self._passive})
        self._warn()
        self._retry = self._bounded.waiting and not retry  # once: the disk may always be that slow

    def _remember(self, fired: set[HookName]) -> None:
        """A hook that fired by itself stays live: it may take long until it fires again."""
        self._fired |= fired
        live = {name: Liveness(live=True) for name in self.found if name in self._fired}
        self.found = {**self.found, **live}

    def _warn(self) -> None:
        for name, each in self.found.items():
            if each.live is False and name not in self._warned:
                self._warned.add(name)
                self.warn(f"hook {name[0]}::{name[1]} is attached but does not fire: {each.reason}")
        if self._bounded.waiting and not self._warned_late:
            self._warned_late = True
            self.warn(
                f"the canary's actions have not finished for {self._bounded.seconds:.0f} s, as if a disk hangs; which "
                "hooks fire is unknown until they finish"
            )


def _is_shown(shown: ShownBy, frames: Iterable[Frame]) -> bool:
    return any(frame.name == shown.metric and bool(frame.values[_fitting(shown, frame)].any()) for frame in frames)


def _fitting(shown: ShownBy, frame: Frame) -> NDArray[np.bool_]:
    fitting = np.ones(len(frame), np.bool_)
    for name, word in shown.where.items():
        column = frame.rows.columns.get(name)
        fitting &= np.array(column.strings()) == word if isinstance(column, Text) else False
    return fitting


def examine(
    probes: Sequence[Probe],
    loaded: LoadedProbes,
    act: Callable[[Collection[str]], Problems],
    statistics: Callable[[], AbstractContextManager[bool]] = run_statistics,
    *,
    selective: bool = False,
) -> Mapping[HookName, Liveness]:
    """Whether each attached hook fires. Raises `OSError` and `ProbeError` if counters cannot be read."""
    asked = list(_attached_hooks(probes, loaded))
    moves = {spec.moves: probe for probe, _, spec in asked if spec and spec.moves}
    with statistics() as counting:
        before = _read_counters(loaded, moves, counting)
        problems = act({spec.action for _, _, spec in asked if spec} - {NO_ACTION})
        after = _read_counters(loaded, moves, counting)
    seen = _programs_seen(asked, before, after)
    return {
        (status.probe, status.hook): _liveness_of(
            status, spec, seen, problems, _why_inconclusive(spec, counting, selective)
        )
        for _, status, spec in asked
    }


def _attached_hooks(
    probes: Sequence[Probe], loaded: LoadedProbes
) -> Iterator[tuple[Probe, HookStatus, CanarySpec | None]]:
    by_name = {probe.name: probe for probe in probes}
    for status in loaded.hooks:
        if status.attached:
            probe = by_name[status.probe]
            spec = next((hook.canary for hook in probe.hooks if hook.name == status.hook), None)
            yield probe, status, _readable(spec, probe, loaded) if spec else None


def _readable(spec: CanarySpec, probe: Probe, loaded: LoadedProbes) -> CanarySpec:
    """The same without ``moves`` if a third-party map has no such field."""
    name, _, field_name = spec.moves.partition(".")
    kernel_map = loaded.maps.get(probe.map(name).published) if name else None
    return spec if kernel_map and field_name in kernel_map.value_fields else replace(spec, moves="")


def _read_counters(loaded: LoadedProbes, moves: Mapping[str, Probe], counting: bool) -> Counters:  # noqa: FBT001 # internal
    if counting:
        return Counters({program.name: program.runs()[0] for program in loaded.programs}, {})
    return Counters({}, {column: _total(loaded, probe, column) for column, probe in moves.items()})


def _total(loaded: LoadedProbes, probe: Probe, column: str) -> int:
    name, _, field_name = column.partition(".")
    kernel_map = loaded.maps[probe.map(name).published]
    return int(kernel_map.read()[1][:, kernel_map.value_fields[field_name]].sum())


def _programs_seen(
    asked: Sequence[tuple[Probe, HookStatus, CanarySpec | None]], before: Counters, after: Counters
) -> set[str]:
    """The programs that ran meanwhile, by either evidence; probes share programs, so one's map may be evidence for
    another.

    For those that must not be triggered, whether they ever ran.
    """
    ran = {name for name, runs in after.runs.items() if runs > before.runs.get(name, 0)}
    grown = {column for column, total in after.maps.items() if total > before.maps[column]}
    passive = {status.program for _, status, spec in asked if spec and spec.action == NO_ACTION}
    ever = {name for name in passive if after.runs.get(name, 0) > 0}  # since runs have been counted
    return ran | ever | {status.program for _, status, spec in asked if spec and spec.moves in grown}


def _why_inconclusive(spec: CanarySpec | None, counting: bool, selective: bool) -> str:  # noqa: FBT001 # internal
    """Why a program that was not seen to run proves nothing; empty if it does."""
    if counting:
        return ""
    if selective:
        return "the kernel does not count the programs' runs (CAP_SYS_ADMIN missing), and maps count only targets"
    if spec and not spec.moves:
        return "the kernel does not count the programs' runs (CAP_SYS_ADMIN missing), and no map shows them"
    return ""


def _liveness_of(
    status: HookStatus, spec: CanarySpec | None, seen: Collection[str], problems: Problems, silence: str
) -> Liveness:
    if status.program in seen:
        return Liveness(live=True)
    if spec is None:
        return Liveness(None, "the probe names no action that triggers it")
    if spec.action == NO_ACTION:
        return Liveness(None, spec.reason)
    if spec.action in problems:
        return Liveness(None, f'the action "{spec.action}" failed: {problems[spec.action]}')
    if silence:
        return Liveness(None, silence)
    return Liveness(live=False, reason=f'its program did not run during the action "{spec.action}"')
