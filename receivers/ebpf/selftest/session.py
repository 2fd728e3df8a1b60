# SPDX-License-Identifier: Apache-2.0
"""The whole self-test: load, run, judge, take everything away again."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ebpf_sidecar.pipeline.clock import Clock, SystemClock
from ebpf_sidecar.pipeline.host import Paths
from ebpf_sidecar.receivers.ebpf.kernel.btf import KERNEL_BTF
from ebpf_sidecar.receivers.ebpf.loading.build_request import request_for
from ebpf_sidecar.receivers.ebpf.loading.parent import LoadError, load
from ebpf_sidecar.receivers.ebpf.maps.loaded import Loaded
from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import find_hierarchy
from ebpf_sidecar.receivers.ebpf.probe.model import Probe
from ebpf_sidecar.receivers.ebpf.watch.canary import Liveness, examine
from ebpf_sidecar.receivers.ebpf.watch.canary_actions import Actions

from .case import CaseFile
from .case_files import cases_of
from .judging import Bench, Result, unchecked
from .meter import meter_of
from .places import Place, temporary_place
from .report import HookReport, Report, bcc_version, hook_report
from .running import Progress, Runner


@dataclass(frozen=True, slots=True)
class Session:
    """What is to be tested. ``chosen``: the user's settings by probe; ``folder``: for temporary files, else found."""

    probes: Sequence[Probe]
    chosen: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    folder: Path | None = None
    quick: bool = False
    load_timeout: float = 240.0
    progress: Progress = lambda *_: None
    paths: Paths = field(default_factory=Paths)
    clock: Clock = field(default_factory=SystemClock)

    def run(self) -> Report:
        """Test, and leave nothing behind. A refusal to load is told in the report; raises `ProbeError` for the rest."""
        system = os.uname()
        report = Report(version("ebpf-sidecar"), system.release, system.machine, bcc_version())
        began = time.monotonic()
        file = cases_of(self.probes)  # first: what is written wrong need not be loaded
        hierarchy = find_hierarchy(self.paths.cgroup)
        request = request_for(self.probes, self.chosen, cgroup_hierarchy=hierarchy.controller)
        try:
            loaded = load(self.probes, request, timeout=self.load_timeout)
        except LoadError as error:
            return replace(report, error=str(error))
        with (
            loaded,
            temporary_place(self.folder, self.paths, quick=self.quick) as place,
        ):
            results = self._results(loaded, place, file)
            return replace(
                report,
                folder=str(place.folder.parent),
                file_system=place.file_system,
                file_bytes=place.size,
                seconds=round(time.monotonic() - began, 2),
                hooks=self._hooks(loaded),
                metrics=results,
                dropped=dict(loaded.drops.read()),
            )

    def _results(self, loaded: Loaded, place: Place, file: CaseFile) -> list[Result]:
        lacks = {} if KERNEL_BTF.exists() else {"types": "the kernel does not tell its types (BTF)"}
        bench = Bench(loaded.unavailable, place.lacks | lacks, place.problem)
        meter = meter_of(self.probes, loaded, find_hierarchy(self.paths.cgroup), self.clock)
        results = Runner(file, bench, meter, place, self.paths, self.progress).run()
        return [*results, *unchecked(file, [metric.name for probe in self.probes for metric in probe.metrics])]

    def _hooks(self, loaded: Loaded) -> list[HookReport]:
        found = examine(self.probes, loaded, Actions(self.paths.proc, self.paths.sys).do)
        return [hook_report(status, found.get((status.probe, status.hook), Liveness(None))) for status in loaded.hooks]
