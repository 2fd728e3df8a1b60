# SPDX-License-Identifier: Apache-2.0
"""How many descriptors the probes take, and whether this process may have as many."""

from __future__ import annotations

from collections.abc import Sequence

from ebpf_sidecar.pipeline.checks import Finding, Verdict
from ebpf_sidecar.receivers.ebpf.kernel.refusals import MORE_DESCRIPTORS
from ebpf_sidecar.receivers.ebpf.probe.model import Hook, Probe

from .machine import Machine

_ASIDE = 64
"""For all but maps and hooks: the loader and its libraries, files in /proc, a few connections."""


def descriptors_needed(probes: Sequence[Probe], processors: int) -> int:
    """How many suffice on that many processors: rather too many than too few.

    A map has two while it is handed over, and may have another one near; a hook has one for its program and one for
    what attaches it, on each processor where it counts perf events.
    """
    maps = sum(2 + 2 * bool(spec.near) for probe in probes for spec in probe.maps)
    return _ASIDE + maps + sum(_of_hook(hook, processors) for probe in probes for hook in probe.hooks)


def _of_hook(hook: Hook, processors: int) -> int:
    return 1 + (processors if any(way.attach == "perf_event" for way in hook.alternatives) else 1)


def open_files(machine: Machine, probes: Sequence[Probe]) -> Finding:
    """The limit that counts is the hard one: the service raises its own up to there."""
    name, limit = ("rights", "open files"), machine.system.open_files
    needed = descriptors_needed(probes, machine.system.processors)
    if limit < 0:
        return Finding(*name, Verdict.OK, "unlimited")
    if limit >= needed:
        return Finding(*name, Verdict.OK, f"{limit} descriptors; these probes need at most {needed}")
    return Finding(*name, Verdict.PROBLEM, f"{limit} descriptors; these probes need up to {needed}", MORE_DESCRIPTORS)
