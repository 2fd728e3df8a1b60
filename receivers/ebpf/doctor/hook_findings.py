# SPDX-License-Identifier: Apache-2.0
"""Where each hook of each probe would attach here: the loading plan, made in advance."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ebpf_sidecar.pipeline.checks import Finding, FindingVerdict
from ebpf_sidecar.pipeline.errors import ProbeError
from ebpf_sidecar.receivers.ebpf.kernel.refusals import release_of
from ebpf_sidecar.receivers.ebpf.loading.build_request import request_for
from ebpf_sidecar.receivers.ebpf.loading.plan import Choice, make_plan
from ebpf_sidecar.receivers.ebpf.probe.model import BY_BTF, Probe

from .host_facts import HostFacts


def hook_findings(
    facts: HostFacts, probes: Sequence[Probe], chosen: Mapping[str, Mapping[str, Any]], *, strict: bool
) -> Iterator[Finding]:
    """One line per hook. Nothing if the machine's architecture is unknown: another line reports that."""
    if facts.tracefs is None:
        yield Finding("hooks", "", FindingVerdict.NOTE, "unknown because tracefs cannot be read", "see kernel tracefs")
        return
    try:
        request = request_for(probes, chosen, cgroup_hierarchy=facts.cgroups.controller)
    except (ProbeError, KeyError):
        return
    plan = make_plan(request, facts.tracefs, facts.types, facts.privileges.release)
    alive = {choice.hook.probe for choice in plan.choices if choice.usable}
    by_name = {probe.name: probe for probe in probes}
    for choice in plan.choices:
        probe = by_name[choice.hook.probe]
        yield _finding(choice, probe, facts.privileges.release, grave=strict or probe.name not in alive)


def _finding(choice: Choice, probe: Probe, release: tuple[int, int], *, grave: bool) -> Finding:
    name = ("hook", f"{probe.name}::{choice.hook.name}")
    if choice.usable:
        point = choice.usable[0]
        others = f" (instead of another: {choice.reason})" if choice.reason else ""
        # only loading such a program shows whether a security module allows it
        certain = FindingVerdict.NOTE if point.attach in BY_BTF else FindingVerdict.OK
        unsure = "; only an attempt shows whether it may be loaded" if certain is FindingVerdict.NOTE else ""
        return Finding(*name, certain, f"{point.attach} {point.event}{others}{unsure}")
    absent = [metric.name for metric in probe.metrics if choice.hook.name in metric.hooks]
    lost = f"; absent: {', '.join(absent)}" if absent else ""
    found = f"{choice.reason}{lost}"
    return Finding(
        *name, FindingVerdict.PROBLEM if grave else FindingVerdict.NOTE, found, _fix(choice, release, grave=grave)
    )


def _fix(choice: Choice, release: tuple[int, int], *, grave: bool) -> str:
    later = [point.since for point in choice.hook.alternatives if point.since and release_of(point.since) > release]
    option = re.search(r"CONFIG_\w+", choice.reason)
    built = f"use a kernel built with {option[0]}=y" if option else "use another kernel"
    newer = f"use kernel {min(later, key=release_of)} or later" if later else built
    return f"{newer}, or leave the probe out" if grave else newer
