# SPDX-License-Identifier: Apache-2.0
"""The loaded probes: reads their maps and returns frames."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ebpf_sidecar.pipeline.component import MapCleanup
from ebpf_sidecar.pipeline.frame import Frame
from ebpf_sidecar.pipeline.host import Context
from ebpf_sidecar.pipeline.timeline import Timeline
from ebpf_sidecar.receivers.ebpf.frames.metric_frames import ReadingTime
from ebpf_sidecar.receivers.ebpf.frames.reading import Reading, coverage, reading_of
from ebpf_sidecar.receivers.ebpf.kernel.bpf_stats import run_statistics
from ebpf_sidecar.receivers.ebpf.kernel.refusals import release_of
from ebpf_sidecar.receivers.ebpf.loading.build_request import calls_for, request_for, with_names, with_settings
from ebpf_sidecar.receivers.ebpf.loading.parent import load
from ebpf_sidecar.receivers.ebpf.loading.targets import kernel_targets
from ebpf_sidecar.receivers.ebpf.maps.loaded import LoadedProbes
from ebpf_sidecar.receivers.ebpf.owners.attribution import Attribution, GroupBy
from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import CgroupTree, Hierarchy, find_hierarchy
from ebpf_sidecar.receivers.ebpf.owners.io_cgroups import CgroupPaths, with_io
from ebpf_sidecar.receivers.ebpf.owners.naming import add_running_programs, names_of
from ebpf_sidecar.receivers.ebpf.owners.new_cgroups import NewCgroups
from ebpf_sidecar.receivers.ebpf.probe.file import read_probe
from ebpf_sidecar.receivers.ebpf.probe.model import Probe
from ebpf_sidecar.receivers.ebpf.watch.canary import Canary
from ebpf_sidecar.receivers.ebpf.watch.canary_actions import Actions
from ebpf_sidecar.receivers.ebpf.watch.cpu_hotplug import CpuHotplug
from ebpf_sidecar.receivers.ebpf.watch.late_calls import LateCalls
from ebpf_sidecar.receivers.ebpf.watch.overhead import Overhead
from ebpf_sidecar.receivers.ebpf.watch.program_frames import NO_STATISTICS, ProgramFrames
from ebpf_sidecar.receivers.ebpf.watch.self_frames import SelfFrames
from ebpf_sidecar.receivers.ebpf.watch.shedding import Shedding
from ebpf_sidecar.receivers.ebpf.watch.target_cgroups import CgroupWatch

from .settings import EbpfSettings


@dataclass(slots=True)
class ProbeCollection:
    """Attached probes, and what turns their maps into frames. ``held``: resources to release at the end."""

    loaded: LoadedProbes
    reading: Reading
    own: SelfFrames
    programs: ProgramFrames
    resource: Mapping[str, str]
    canary: Canary
    cpu_hotplug: CpuHotplug
    timeline: Timeline
    tree: CgroupPaths
    watch: CgroupWatch | None = None
    shedding: Shedding | None = None
    held: ExitStack = field(default_factory=ExitStack)
    cleanup: MapCleanup | None = None
    """What to follow from the next reading on, if that has changed; set from any thread."""
    _forgotten: int = 0

    def collect(self) -> list[Frame]:
        """Read all maps: what the probes counted, and the state of the probes. Raises `ProbeError`."""
        if self.cleanup is not None:
            self.reading.follow(self.cleanup)
        made = self.tree.start_reading()
        if self.watch:
            self.watch.update(made)
        self.canary.when_due(self.timeline.clock.monotonic())
        newest = max(
            (map_totals.newest_start for map_totals in self.reading.all_totals.values()), default=self.own.start
        )
        now = self.timeline.now(newest)  # not earlier: the steps above may wait for a disk
        monotonic = now.monotonic_nano / 1e9
        self.reading.update(monotonic, now.time_unix_nano, ahead=now.ahead)
        reading_time = ReadingTime(now.time_unix_nano, self.resource)
        frames = self.reading.frames(reading_time)
        self.canary.notice(frames)
        entries = {name: map_totals.kernel_entries for name, map_totals in self.reading.all_totals.items()}
        own = self.own.frames(reading_time, entries, coverage(frames), self.canary.found)
        shown = [*frames, *own, *self.programs.frames(reading_time), *self._overhead(monotonic, reading_time)]
        self._follow(self.cpu_hotplug.update())
        return [replace(frame, monotonic_nano=now.monotonic_nano) for frame in shown]

    def _overhead(self, monotonic: float, reading_time: ReadingTime) -> list[Frame]:
        """Runs after the reading, so that a probe that is turned off has reported everything it counted."""
        if self.shedding is None:
            return []
        left = self.shedding.when_due(monotonic, self.loaded)
        self._follow(left)
        return self.shedding.frames(reading_time)

    def _follow(self, left: LoadedProbes | None) -> None:
        """Continue with the probes that are ``left`` if some were turned off."""
        if left is None:
            return
        forgotten = self.forgotten_rows()
        self.reading = self.reading.without(self.loaded.maps.keys() - left.maps.keys())
        self._forgotten += forgotten - self.forgotten_rows()
        self.own.follow(left)
        self.canary.follow(left)
        self.programs.follow(left.hooks)
        self.cpu_hotplug.loaded = self.loaded = left

    def losses(self) -> dict[str, int]:
        """Events of which no row tells, by reason, as of the last reading. What the kernel does not count is absent."""
        missed = self.programs.missed()
        return {
            **self.own.dropped,
            **({} if missed is None else {"missed_runs": missed}),
            "forgotten_rows": self.forgotten_rows(),
        }

    def rows_beyond_limit(self) -> int:
        """How many groups share an overflow row."""
        return sum(map_totals.overflowed for map_totals in self.reading.all_totals.values())

    def forgotten_rows(self) -> int:
        """How many rows were dropped, including those of maps that are no longer read."""
        return self._forgotten + sum(map_totals.forgotten for map_totals in self.reading.all_totals.values())

    def close(self) -> None:
        """Detach everything."""
        self.held.close()


def open_collection(
    settings: EbpfSettings, files: Mapping[str, Path], cleanup: MapCleanup, context: Context
) -> ProbeCollection:
    """Load the probes that ``settings`` name, found in ``files``. Raises `ProbeError` with what is missing."""
    probes = [with_settings(read_probe(files[name]), chosen) for name, chosen in settings.probes.items()]
    hierarchy = find_hierarchy(context.paths.cgroup)
    with ExitStack() as held:  # a failure before the end leaves nothing in the kernel
        loaded = held.enter_context(_load(probes, settings, hierarchy, context))
        hierarchy = _hierarchy_of(loaded, hierarchy, context)
        timeline = Timeline(context.clock, context.telemetry)
        start = timeline.now().time_unix_nano
        new = NewCgroups(loaded.new_cgroups)
        tree = with_io(CgroupTree(hierarchy, new.take), context.paths.cgroup, new.take_of_io)
        tree.learn()  # from now on the kernel reports new cgroups
        attribution = _attribution(settings, loaded, tree, hierarchy, context)
        reading = reading_of(probes, loaded, attribution, start=start, cleanup=cleanup, limit=settings.max_rows)
        canary = _canary(probes, loaded, settings, context)
        programs = ProgramFrames(loaded, start, release_of(os.uname().release), _counting(settings, context, held))
        shedding = _shedding(settings, probes, context) if programs.counting else None
        watch = _watch(settings, loaded, hierarchy, context)
        own = SelfFrames(loaded, context.paths.proc, start)
        late = LateCalls(context.privileged)
        cpu_hotplug = CpuHotplug(loaded, probes, context.logger.warning, context.paths.sys, late.open_event)
        held.callback(cpu_hotplug.close)
        return ProbeCollection(
            loaded,
            reading,
            own,
            programs,
            context.resource,
            canary,
            cpu_hotplug,
            timeline,
            tree,
            watch,
            shedding,
            held.pop_all(),
        )


def _attribution(
    settings: EbpfSettings, loaded: LoadedProbes, tree: CgroupPaths, hierarchy: Hierarchy, context: Context
) -> Attribution:
    names = names_of(loaded, tree, context.paths.proc, context.logger.warning)
    attribution = Attribution(tree, settings.group_by, settings.targets.restricted, names)
    if loaded.new_names is not None:
        add_running_programs(attribution, hierarchy, context.paths.proc, context.privileged.executable)
    return attribution


def _hierarchy_of(loaded: LoadedProbes, hierarchy: Hierarchy, context: Context) -> Hierarchy:
    """Where the cgroup ids come from: without BTF always the v2 tree, whatever the host uses."""
    if loaded.cgroup_hierarchy == hierarchy.controller:
        return hierarchy
    return replace(hierarchy, controller="v2", root=context.paths.cgroup / "unified")


def _canary(probes: list[Probe], loaded: LoadedProbes, settings: EbpfSettings, context: Context) -> Canary:
    act, selective = Actions(context.paths.proc, context.paths.sys).do, settings.targets.restricted
    statistics = _statistics(context)
    warn = context.logger.warning
    return Canary(probes, loaded, settings.canary_interval, warn, act, statistics, selective=selective)


def _statistics(context: Context) -> Callable[[], AbstractContextManager[bool]]:
    late = LateCalls(context.privileged)
    return lambda: run_statistics(context.paths.proc, late.enable_statistics)


def _counting(settings: EbpfSettings, context: Context, held: ExitStack) -> bool:
    """Enable run statistics until ``held`` is closed, if configured; return False and log a warning if the kernel
    refuses."""
    if not settings.probe_statistics and settings.max_overhead is None:
        return False
    counting = held.enter_context(_statistics(context)())
    if not counting:
        context.logger.warning("ebpf.probe.runs and ebpf.probe.run_time are absent: %s", NO_STATISTICS)
    if not counting and settings.max_overhead is not None:
        context.logger.warning("max_overhead has no effect: what probes cost cannot be measured")
    return counting


def _shedding(settings: EbpfSettings, probes: list[Probe], context: Context) -> Shedding | None:
    if settings.max_overhead is None:
        return None
    overhead = Overhead(settings.max_overhead, settings.shed_order, os.cpu_count() or 1)
    return Shedding(overhead, probes, lambda left: calls_for(left, settings.probes), context.logger.warning)


def _watch(settings: EbpfSettings, loaded: LoadedProbes, hierarchy: Hierarchy, context: Context) -> CgroupWatch | None:
    """The watch over the target cgroups, which are in the kernel's map when this returns."""
    if loaded.targets is None:
        return None
    patterns, warn = settings.targets.cgroups, context.logger.warning
    watch = CgroupWatch(patterns, hierarchy.root, loaded.targets, loaded.generation, warn)
    watch.update()
    return watch


def _load(probes: list[Probe], settings: EbpfSettings, hierarchy: Hierarchy, context: Context) -> LoadedProbes:
    chosen: Mapping[str, Mapping[str, Any]] = settings.probes
    request = request_for(
        probes,
        chosen,
        cgroup_hierarchy=hierarchy.controller,
        by_process=GroupBy.PID in settings.group_by,
        strict=settings.strict,
        budget=settings.max_map_memory,
        targets=kernel_targets(settings.targets, context.paths.proc),
        program_cache=settings.program_cache,
    )
    if settings.full_executable_names and GroupBy.EXECUTABLE in settings.group_by:
        request = with_names(request)
    return load(probes, request, timeout=settings.load_timeout, privileged=context.privileged)
