# SPDX-License-Identifier: Apache-2.0
"""The doctor's look at the machine for one configured receiver ``ebpf``."""

from __future__ import annotations

from dataclasses import replace

from ebpf_sidecar.pipeline.checks import Examination, Verdict
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.receivers.ebpf.probe.file import find_probes, read_probe
from ebpf_sidecar.receivers.ebpf.settings import EbpfSettings

from .attribute_findings import attribute_findings
from .disk_findings import disk_findings
from .hook_findings import hook_findings
from .kernel_findings import kernel_findings
from .machine import Machine, Tracing, read_machine
from .needs import needs_of
from .open_files import open_files
from .private_tracefs import mounted_elsewhere
from .rights_findings import rights_findings
from .security_context import advice_of
from .surroundings_findings import surroundings_findings
from .system import this_system


def examine(settings: EbpfSettings) -> Examination:
    """The machine that we are on, for the probes that ``settings`` name."""
    machine = read_machine(this_system())
    if machine.tracing is not Tracing.NOT_MOUNTED or not machine.standing.may("CAP_SYS_ADMIN"):
        return examine_machine(settings, machine)
    with mounted_elsewhere() as (tracing, tracefs):
        return examine_machine(settings, replace(machine, tracing=tracing, tracefs=tracefs))


def examine_machine(settings: EbpfSettings, machine: Machine) -> Examination:
    """``machine``, for the probes that ``settings`` name; pure but for reading the probes' own files."""
    files = find_probes(Plugins().probe_folders())
    probes = [read_probe(files[name]) for name in settings.probes]
    needs = needs_of(probes, machine)
    rights = tuple(rights_findings(machine, needs, _counting(settings)))
    findings = (
        *kernel_findings(machine, probes),
        *rights,
        open_files(machine, probes),
        *surroundings_findings(machine),
        *disk_findings(machine, probes),
        *hook_findings(machine, probes, settings.probes, strict=settings.strict),
        *attribute_findings(machine, probes),
    )
    refused = any(each.subject == "seccomp" and each.verdict is Verdict.PROBLEM for each in rights)
    return Examination(findings, advice_of(machine, needs, refused=refused))


def _counting(settings: EbpfSettings) -> str:
    """The setting that needs to know what programs cost."""
    if settings.max_overhead is not None:
        return "max_overhead"
    return "probe_statistics" if settings.probe_statistics else ""
