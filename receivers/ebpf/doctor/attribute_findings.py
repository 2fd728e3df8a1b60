# SPDX-License-Identifier: Apache-2.0
"""Which attributes are unavailable because the kernel's BTF lacks what they need; the metrics exist without them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ebpf_sidecar.pipeline.checks import Finding, FindingVerdict
from ebpf_sidecar.receivers.ebpf.probe.model import Attribute, Probe

from .host_facts import HostFacts

_BUILT = "use a kernel built with CONFIG_DEBUG_INFO_BTF=y"


def attribute_findings(facts: HostFacts, probes: Sequence[Probe]) -> Iterator[Finding]:
    """One line for each attribute of a probe that comes from the kernel's types."""
    for probe in probes:
        for name, attribute in _known_by_btf(probe).items():
            metrics = [each.name for each in probe.metrics if name in [one.name for one in each.attributes]]
            yield _finding(facts, f"{probe.name}::{name}", attribute, metrics)


def _known_by_btf(probe: Probe) -> dict[str, Attribute]:
    attributes = [attribute for metric in probe.metrics for attribute in metric.attributes]
    return {attribute.name: attribute for attribute in attributes if attribute.btf}


def _finding(facts: HostFacts, subject: str, attribute: Attribute, metrics: Sequence[str]) -> Finding:
    types = facts.types
    if types is None:
        why, fix = "no BTF", _BUILT
    else:
        missing = [field for field in attribute.btf if types.offset(*field.split(".")) is None]
        why, fix = f"this kernel has no field {' and '.join(missing)}" if missing else "", "report this kernel version"
    if not why:
        return Finding("attribute", subject, FindingVerdict.OK, "from the kernel's type information (BTF)")
    found = f"absent: {why}; everything is still counted ({', '.join(metrics)})"
    return Finding("attribute", subject, FindingVerdict.NOTE, found, fix)
