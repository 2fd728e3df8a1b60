# SPDX-License-Identifier: Apache-2.0
"""Attached is not the same as firing: triggers each hook and looks whether its program ran.

Evidence is the kernel's own count of runs, where it may be asked for (CAP_SYS_ADMIN), else a map that must have grown.
What cannot be known stays unknown: it is neither live nor dead. Hooks that nothing may trigger on purpose are live once
a metric, or a count of runs, shows that they fired.
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
from ebpf_sidecar.receivers.ebpf.maps.loaded import HookStatus, Loaded
from ebpf_sidecar.receivers.ebpf.probe.model import NO_ACTION, CanarySpec, Probe, ShownBy

from .bounded_actions import Hurry
from .canary_actions import Actions, Problems

HookName = tuple[str, str]
"""Probe and hook."""


@dataclass(frozen=True, slots=True)
class Liveness:
    """``live``: None where it is not known. ``reason``: why not live, or why not known."""

    live: bool | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Counters:
    """One look: how often programs ran, by name, and what maps hold in all, by ``map.field``."""

    runs: Mapping[str, int]
    maps: Mapping[str, int]


@dataclass
class Canary:
    """Examines the attached hooks of ``probes`` each ``interval`` seconds, or once when that is 0.

    ``act`` does actions and tells which it could not do; ``warn`` gets a line for each hook that turns out dead, once.
    ``selective``: maps do not count everybody, perhaps not us, so that one that does not grow proves nothing.
    """

    probes: Sequence[Probe]
    loaded: Loaded
    interval: float
    warn: Callable[[str], None]
    act: Callable[[Collection[str]], Problems] = field(default_factory=lambda: Actions().do)
    statistics: Callable[[], AbstractContextManager[bool]] = run_statistics
    selective: bool = False
    found: Mapping[HookName, Liveness] = field(default_factory=dict)
    _due: float | None = None
    _warned: set[HookName] = field(default_factory=set)
    _retry: bool = False
    _said_late: bool = False
    _fired: set[HookName] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._hurry = Hurry(self.act)
        specs = {(status.probe, status.hook): spec for _, status, spec in _asked(self.probes, self.loaded)}
        self._unprovoked = {name: spec.shown_by for name, spec in specs.items() if spec and spec.action == NO_ACTION}

    def follow(self, loaded: Loaded) -> None:
        """From now on examine the hooks that are attached in ``loaded``."""
        self.loaded = loaded
        attached = {(hook.probe, hook.hook) for hook in loaded.hooks if hook.attached}
        self.found = {name: each for name, each in self.found.items() if name in attached}

    def notice(self, frames: Sequence[Frame]) -> None:
        """Take what metrics show as evidence, for the hooks that nothing may trigger on purpose."""
        unseen = [(name, shown) for name, shown in self._unprovoked.items() if shown and name not in self._fired]
        self._remember({name for name, shown in unseen if _is_shown(shown, frames)})

    def when_due(self, now: float) -> None:
        """Examine when it is time. ``now``: monotonic seconds. Whatever fails makes hooks unknown, never raises."""
        retry = self._retry and not self._hurry.waiting
        if not retry and self._due is not None and (self.interval <= 0 or now < self._due):
            return
        self._due = now + self.interval
        try:
            self.found = examine(self.probes, self.loaded, self._hurry.do, self.statistics, selective=self.selective)
        except (OSError, ProbeError) as error:
            self.found = {name: Liveness(None, str(error)) for name in self.found}
        self._remember({name for name, each in self.found.items() if each.live and name in self._unprovoked})
        self._say()
        self._retry = self._hurry.waiting and not retry  # once: a disk may be so slow each time

    def _remember(self, fired: set[HookName]) -> None:
        """Who fired by itself is live from then on: it may be long until it does so again."""
        self._fired |= fired
        live = {name: Liveness(live=True) for name in self.found if name in self._fired}
        self.found = {**self.found, **live}

    def _say(self) -> None:
        for name, each in self.found.items():
            if each.live is False and name not in self._warned:
                self._warned.add(name)
                self.warn(f"hook {name[0]}::{name[1]} is attached but does not fire: {each.reason}")
        if self._hurry.waiting and not self._said_late:
            self._said_late = True
            self.warn(
                f"the canary's actions have not ended for {self._hurry.seconds:.0f} s, as where a disk hangs; which "
                "hooks fire is not known until they have"
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
    loaded: Loaded,
    act: Callable[[Collection[str]], Problems],
    statistics: Callable[[], AbstractContextManager[bool]] = run_statistics,
    *,
    selective: bool = False,
) -> Mapping[HookName, Liveness]:
    """Whether each attached hook fires. Raises `OSError` and `ProbeError` when counters cannot be read."""
    asked = list(_asked(probes, loaded))
    moves = {spec.moves: probe for probe, _, spec in asked if spec and spec.moves}
    with statistics() as counting:
        before = _look(loaded, moves, counting)
        problems = act({spec.action for _, _, spec in asked if spec} - {NO_ACTION})
        after = _look(loaded, moves, counting)
    seen = _programs_seen(asked, before, after)
    return {
        (status.probe, status.hook): _judge(status, spec, seen, problems, _silence(spec, counting, selective))
        for _, status, spec in asked
    }


def _asked(probes: Sequence[Probe], loaded: Loaded) -> Iterator[tuple[Probe, HookStatus, CanarySpec | None]]:
    by_name = {probe.name: probe for probe in probes}
    for status in loaded.hooks:
        if status.attached:
            probe = by_name[status.probe]
            spec = next((hook.canary for hook in probe.hooks if hook.name == status.hook), None)
            yield probe, status, _readable(spec, probe, loaded) if spec else None


def _readable(spec: CanarySpec, probe: Probe, loaded: Loaded) -> CanarySpec:
    """The same without ``moves`` where a third party's map has no such field, so that nothing can be read from it."""
    name, _, field_name = spec.moves.partition(".")
    kernel_map = loaded.maps.get(probe.map(name).published) if name else None
    return spec if kernel_map and field_name in kernel_map.value_fields else replace(spec, moves="")


def _look(loaded: Loaded, moves: Mapping[str, Probe], counting: bool) -> Counters:  # noqa: FBT001 # internal
    if counting:
        return Counters({program.name: program.runs()[0] for program in loaded.programs}, {})
    return Counters({}, {column: _total(loaded, probe, column) for column, probe in moves.items()})


def _total(loaded: Loaded, probe: Probe, column: str) -> int:
    name, _, field_name = column.partition(".")
    kernel_map = loaded.maps[probe.map(name).published]
    return int(kernel_map.read()[1][:, kernel_map.value_fields[field_name]].sum())


def _programs_seen(
    asked: Sequence[tuple[Probe, HookStatus, CanarySpec | None]], before: Counters, after: Counters
) -> set[str]:
    """The programs that ran meanwhile, by either evidence; probes share programs, so one's map may tell for another.

    For those that nothing may trigger, whether they ever ran.
    """
    ran = {name for name, runs in after.runs.items() if runs > before.runs.get(name, 0)}
    grown = {column for column, total in after.maps.items() if total > before.maps[column]}
    unprovoked = {status.program for _, status, spec in asked if spec and spec.action == NO_ACTION}
    ever = {name for name in unprovoked if after.runs.get(name, 0) > 0}  # as far back as runs were counted
    return ran | ever | {status.program for _, status, spec in asked if spec and spec.moves in grown}


def _silence(spec: CanarySpec | None, counting: bool, selective: bool) -> str:  # noqa: FBT001 # internal
    """Why it proves nothing that no program was seen to run; empty when it does."""
    if counting:
        return ""
    if selective:
        return "the kernel does not tell how often programs run (CAP_SYS_ADMIN missing), and maps count targets only"
    if spec and not spec.moves:
        return "the kernel does not tell how often programs run (CAP_SYS_ADMIN missing), nor does a map"
    return ""


def _judge(
    status: HookStatus, spec: CanarySpec | None, seen: Collection[str], problems: Problems, silence: str
) -> Liveness:
    if status.program in seen:
        return Liveness(live=True)
    if spec is None:
        return Liveness(None, "the probe names no action that triggers it")
    if spec.action == NO_ACTION:
        return Liveness(None, spec.reason)
    if spec.action in problems:
        return Liveness(None, f'the action "{spec.action}" could not be done: {problems[spec.action]}')
    if silence:
        return Liveness(None, silence)
    return Liveness(live=False, reason=f'its program did not run at the action "{spec.action}"')
