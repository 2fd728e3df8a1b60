# SPDX-License-Identifier: Apache-2.0
"""The whole self-test: load, run, judge, clean up."""

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
from ebpf_sidecar.receivers.ebpf.maps.loaded import LoadedProbes
from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import find_hierarchy
from ebpf_sidecar.receivers.ebpf.probe.model import Probe
from ebpf_sidecar.receivers.ebpf.watch.canary import Liveness, examine
from ebpf_sidecar.receivers.ebpf.watch.canary_actions import Actions

from .case import CaseFile
from .case_files import cases_of
from .judging import CaseResult, Preconditions, unchecked
from .meter import meter_of
from .report import HookReport, Report, bcc_version, hook_report
from .running import Progress, Runner
from .workspace import Workspace, temporary_workspace


@dataclass(frozen=True, slots=True)
class Session:
    """What to test. ``chosen``: the user's settings by probe; ``folder``: for temporary files, found if not given."""

    probes: Sequence[Probe]
    chosen: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    folder: Path | None = None
    quick: bool = False
    load_timeout: float = 240.0
    progress: Progress = lambda *_: None
    paths: Paths = field(default_factory=Paths)
    clock: Clock = field(default_factory=SystemClock)

    def run(self) -> Report:
        """Test, and leave nothing behind. A refusal to load is part of the report; raises `ProbeError` for anything
        else, and `ConfigError` if the cases next to a probe are wrong."""
        system = os.uname()
        report = Report(version("ebpf-sidecar"), system.release, system.machine, bcc_version())
        started = time.monotonic()
        file = cases_of(self.probes)  # first, so that nothing is loaded if there are mistakes
        hierarchy = find_hierarchy(self.paths.cgroup)
        request = request_for(self.probes, self.chosen, cgroup_hierarchy=hierarchy.controller)
        try:
            loaded = load(self.probes, request, timeout=self.load_timeout)
        except LoadError as error:
            return replace(report, error=str(error))
        with (
            loaded,
            temporary_workspace(self.folder, self.paths, quick=self.quick) as workspace,
        ):
            results = self._results(loaded, workspace, file)
            return replace(
                report,
                folder=str(workspace.folder.parent),
                file_system=workspace.file_system,
                file_bytes=workspace.size,
                seconds=round(time.monotonic() - started, 2),
                hooks=self._hooks(loaded),
                metrics=results,
                dropped=dict(loaded.drops.read()),
            )

    def _results(self, loaded: LoadedProbes, workspace: Workspace, file: CaseFile) -> list[CaseResult]:
        lacks = {} if KERNEL_BTF.exists() else {"types": "the kernel has no type information (BTF)"}
        bench = Preconditions(loaded.unavailable, workspace.lacks | lacks, workspace.problem)
        meter = meter_of(self.probes, loaded, find_hierarchy(self.paths.cgroup), self.clock)
        results = Runner(file, bench, meter, workspace, self.paths, self.progress).run()
        return [*results, *unchecked(file, [metric.name for probe in self.probes for metric in probe.metrics])]

    def _hooks(self, loaded: LoadedProbes) -> list[HookReport]:
        found = examine(self.probes, loaded, Actions(self.paths.proc, self.paths.sys).do)
        return [hook_report(status, found.get((status.probe, status.hook), Liveness(None))) for status in loaded.hooks]
