# SPDX-License-Identifier: Apache-2.0
"""Examines the machine for one configured receiver ``ebpf``."""

from __future__ import annotations

from dataclasses import replace

from ebpf_sidecar.pipeline.checks import Examination, FindingVerdict
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.receivers.ebpf.probe.file import find_probes, read_probe
from ebpf_sidecar.receivers.ebpf.settings import EbpfSettings

from .attribute_findings import attribute_findings
from .disk_findings import disk_findings
from .hook_findings import hook_findings
from .host_facts import HostFacts, Tracing, read_host_facts
from .kernel_findings import kernel_findings
from .needs import needs_of
from .open_files import open_files
from .private_tracefs import mounted_privately
from .rights_findings import rights_findings
from .security_context import advice_of
from .surroundings_findings import surroundings_findings
from .system import this_system


def examine(settings: EbpfSettings) -> Examination:
    """Examine this machine for the probes in ``settings``."""
    facts = read_host_facts(this_system())
    if facts.tracing is not Tracing.NOT_MOUNTED or not facts.privileges.may("CAP_SYS_ADMIN"):
        return examine_host(settings, facts)
    with mounted_privately() as (tracing, tracefs):
        return examine_host(settings, replace(facts, tracing=tracing, tracefs=tracefs))


def examine_host(settings: EbpfSettings, facts: HostFacts) -> Examination:
    """Examine a host for the probes in ``settings``; pure except for reading the probes' own files."""
    files = find_probes(Plugins().probe_folders())
    probes = [read_probe(files[name]) for name in settings.probes]
    needs = needs_of(probes, facts)
    rights = tuple(rights_findings(facts, needs, _counting(settings)))
    findings = (
        *kernel_findings(facts, probes),
        *rights,
        open_files(facts, probes),
        *surroundings_findings(facts),
        *disk_findings(facts, probes),
        *hook_findings(facts, probes, settings.probes, strict=settings.strict),
        *attribute_findings(facts, probes),
    )
    refused = any(each.subject == "seccomp" and each.verdict is FindingVerdict.PROBLEM for each in rights)
    return Examination(findings, advice_of(facts, needs, refused=refused))


def _counting(settings: EbpfSettings) -> str:
    """The setting that needs the programs' run time."""
    if settings.max_overhead is not None:
        return "max_overhead"
    return "probe_statistics" if settings.probe_statistics else ""
