# SPDX-License-Identifier: Apache-2.0
"""Which attributes of metrics the kernel's types do not tell here; the metrics are there without them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ebpf_sidecar.pipeline.checks import Finding, Verdict
from ebpf_sidecar.receivers.ebpf.probe.model import Attribute, Probe

from .machine import Machine

_BUILT = "use a kernel built with CONFIG_DEBUG_INFO_BTF=y"


def attribute_findings(machine: Machine, probes: Sequence[Probe]) -> Iterator[Finding]:
    """One line for each attribute of a probe that comes from the kernel's types."""
    for probe in probes:
        for name, attribute in _told_by_types(probe).items():
            metrics = [each.name for each in probe.metrics if name in [one.name for one in each.attributes]]
            yield _finding(machine, f"{probe.name}::{name}", attribute, metrics)


def _told_by_types(probe: Probe) -> dict[str, Attribute]:
    attributes = [attribute for metric in probe.metrics for attribute in metric.attributes]
    return {attribute.name: attribute for attribute in attributes if attribute.btf}


def _finding(machine: Machine, subject: str, attribute: Attribute, metrics: Sequence[str]) -> Finding:
    types = machine.types
    if types is None:
        why, fix = "no BTF", _BUILT
    else:
        missing = [field for field in attribute.btf if types.offset(*field.split(".")) is None]
        why, fix = f"this kernel has no field {' and '.join(missing)}" if missing else "", "report this kernel"
    if not why:
        return Finding("attribute", subject, Verdict.OK, "by the kernel's types (BTF)")
    found = f"absent: {why}; all is counted without it ({', '.join(metrics)})"
    return Finding("attribute", subject, Verdict.NOTE, found, fix)
