# SPDX-License-Identifier: Apache-2.0
"""How many file descriptors the probes need, and whether this process may open that many."""

from __future__ import annotations

from collections.abc import Sequence

from ebpf_sidecar.pipeline.checks import Finding, FindingVerdict
from ebpf_sidecar.receivers.ebpf.kernel.refusals import MORE_DESCRIPTORS
from ebpf_sidecar.receivers.ebpf.probe.model import Probe, ProbeHook

from .host_facts import HostFacts

_ASIDE = 64
"""For everything but maps and hooks: the loader and its libraries, files in /proc, a few connections."""


def descriptors_needed(probes: Sequence[Probe], cpus: int) -> int:
    """An upper bound for a machine with ``cpus`` CPUs.

    A map takes two while it is handed over, and two more if it has a near map; a hook takes one for its program and one
    for each attachment, of which there is one per CPU for perf events.
    """
    maps = sum(2 + 2 * bool(spec.near) for probe in probes for spec in probe.maps)
    return _ASIDE + maps + sum(_of_hook(hook, cpus) for probe in probes for hook in probe.hooks)


def _of_hook(hook: ProbeHook, cpus: int) -> int:
    return 1 + (cpus if any(point.attach == "perf_event" for point in hook.alternatives) else 1)


def open_files(facts: HostFacts, probes: Sequence[Probe]) -> Finding:
    """Only the hard limit matters: the service raises its soft limit up to it."""
    name, limit = ("rights", "open files"), facts.system.open_files
    needed = descriptors_needed(probes, facts.system.cpus)
    if limit < 0:
        return Finding(*name, FindingVerdict.OK, "unlimited")
    if limit >= needed:
        return Finding(*name, FindingVerdict.OK, f"{limit} descriptors; these probes need at most {needed}")
    return Finding(
        *name, FindingVerdict.PROBLEM, f"{limit} descriptors; these probes need up to {needed}", MORE_DESCRIPTORS
    )
