# SPDX-License-Identifier: Apache-2.0
"""Loaded probes as one thing that can be asked for frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...pipeline.component import Context, MapCleanup
from ...pipeline.frame import Frame
from .attribution import Attribution, GroupBy
from .canary import Canary
from .canary_actions import Actions
from .cgroups import CgroupTree, Hierarchy, find_hierarchy
from .loaded import Loaded
from .loading import load
from .metrics import Moment
from .preparing import request_for
from .probe import Probe
from .probe_file import read_probe
from .reading import Reading, coverage, reading_of
from .selfframes import SelfFrames
from .settings import EbpfSettings


@dataclass(frozen=True, slots=True)
class Collection:
    """Probes at work, and the way from their maps to frames."""

    loaded: Loaded
    reading: Reading
    own: SelfFrames
    resource: Mapping[str, str]
    canary: Canary

    def collect(self, monotonic: float, time_unix_nano: int) -> list[Frame]:
        """Read all maps: what the probes counted, and how the probes do. Raises `ProbeError`."""
        self.canary.when_due(monotonic)
        self.reading.update(monotonic)
        moment = Moment(time_unix_nano, self.resource)
        frames = self.reading.frames(moment)
        entries = {name: tally.kernel_entries for name, tally in self.reading.tallies.items()}
        return [*frames, *self.own.frames(moment, entries, coverage(frames), self.canary.found)]

    def rows_beyond_limit(self) -> int:
        """How many groups share an overflow row."""
        return sum(tally.overflowed for tally in self.reading.tallies.values())

    def close(self) -> None:
        """Detach everything."""
        self.loaded.close()


def open_collection(
    settings: EbpfSettings, files: Mapping[str, Path], cleanup: MapCleanup, context: Context
) -> Collection:
    """Load the probes that ``settings`` name, found in ``files``. Raises `ProbeError` with what is missing."""
    probes = [read_probe(files[name]) for name in settings.probes]
    hierarchy = find_hierarchy(context.paths.cgroup)
    loaded = _load(probes, settings, hierarchy)
    if loaded.cgroup_hierarchy != hierarchy.controller:
        # without the kernel's types ids come from the v2 tree, whatever the host uses
        hierarchy = replace(hierarchy, controller="v2", root=context.paths.cgroup / "unified")
    start = context.clock.time_ns()
    attribution = Attribution(CgroupTree(hierarchy), settings.group_by)
    reading = reading_of(probes, loaded, attribution, start=start, cleanup=cleanup, limit=settings.max_rows)
    actions = Actions(context.paths.proc, context.paths.sys)
    canary = Canary(probes, loaded, settings.canary_interval, context.logger.warning, actions.do)
    return Collection(loaded, reading, SelfFrames(loaded, context.paths.proc, start), context.resource, canary)


def _load(probes: list[Probe], settings: EbpfSettings, hierarchy: Hierarchy) -> Loaded:
    chosen: Mapping[str, Mapping[str, Any]] = settings.probes
    request = request_for(
        probes,
        chosen,
        cgroup_hierarchy=hierarchy.controller,
        by_process=GroupBy.PID in settings.group_by,
        strict=settings.strict,
        budget=settings.max_map_memory,
    )
    return load(probes, request, timeout=settings.load_timeout)
