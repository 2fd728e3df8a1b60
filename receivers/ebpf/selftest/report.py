# SPDX-License-Identifier: Apache-2.0
"""The outcome of a self-test, as text for people and as JSON with a stable schema for programs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ebpf_sidecar.pipeline.text_table import aligned
from ebpf_sidecar.receivers.ebpf.maps.loaded import HookStatus
from ebpf_sidecar.receivers.ebpf.watch.canary import Liveness

from .judging import CaseResult

SCHEMA = 1
"""Increased when a field of the JSON is renamed or removed; new ones may be added at any time."""
_MARKS = {"ok": "ok", "wrong": "WRONG", "skipped": "skipped"}


@dataclass(frozen=True, slots=True)
class HookReport:
    """A hook: ``way`` is its attach point in the kernel. ``live``: None if unknown, for ``live_reason``."""

    probe: str
    hook: str
    attached: bool
    program: str
    way: str
    reason: str
    live: bool | None = None
    live_reason: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """The whole outcome.

    ``error``: why nothing could be loaded, or empty. ``dropped``: events that could not be counted, by reason.
    """

    product: str
    kernel: str
    machine: str
    bcc: str
    folder: str = ""
    file_system: str = ""
    file_bytes: int = 0
    seconds: float = 0.0
    error: str = ""
    hooks: Sequence[HookReport] = ()
    metrics: Sequence[CaseResult] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)

    @property
    def totals(self) -> Mapping[str, int]:
        """The number of lines by verdict."""
        return {verdict: sum(each.verdict == verdict for each in self.metrics) for verdict in _MARKS}

    @property
    def right(self) -> bool:
        """Whether something was checked, and nothing was wrong."""
        return not self.error and not self.totals["wrong"] and bool(self.totals["ok"])

    def to_json(self) -> str:
        """The JSON document."""
        body: dict[str, Any] = {"schema": SCHEMA, **asdict(self), "totals": dict(self.totals), "right": self.right}
        return json.dumps(body, indent=1)


def hook_report(status: HookStatus, liveness: Liveness) -> HookReport:
    """The line of a hook."""
    reported = (status.attached, status.program, status.way, status.reason, liveness.live, liveness.reason)
    return HookReport(status.probe, status.hook, *reported)


def lines_of(report: Report) -> Iterator[str]:
    """The text, line by line."""
    yield f"ebpf-sidecar {report.product} on kernel {report.kernel} ({report.machine}), BCC {report.bcc}"
    live = sum(hook.live is True for hook in report.hooks)
    attached = sum(hook.attached for hook in report.hooks)
    yield f"{attached} of {len(report.hooks)} hooks attached, {live} seen to fire"
    yield from (f"  {hook.probe}::{hook.hook}: {why}" for hook in report.hooks if (why := _trouble(hook)))
    rows = [("METRIC", "WORKLOAD", "EXPECTED", "MEASURED", "ORACLE", "VERDICT"), *map(_row, report.metrics)]
    yield from aligned(rows, right=(2, 3))
    totals = ", ".join(f"{count} {verdict}" for verdict, count in report.totals.items())
    where = f"{report.file_bytes >> 20} MiB in {report.folder}, {report.file_system or 'not on a disk'}"
    yield f"{totals} in {report.seconds:.1f} s ({where})"
    if not report.totals["ok"] + report.totals["wrong"]:
        yield "nothing could be checked here, so nothing is proven"
    lost = ", ".join(f"{count} at {reason}" for reason, count in report.dropped.items() if count)
    if lost:
        yield f"events that could not be counted: {lost}"


def bcc_version() -> str:
    """The version of the BCC module, read without loading it and its compiler; empty if there is none."""
    found = find_spec("bcc")
    if found is None or found.origin is None:
        return ""
    try:
        text = (Path(found.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        return "unknown"
    match = re.search(r"__version__\s*=\s*['\"]([^'\"]+)", text)
    return match[1] if match else "unknown"


def _trouble(hook: HookReport) -> str:
    if not hook.attached:
        return f"not attached: {hook.reason}"
    if hook.live is None:
        return f"not known to fire: {hook.live_reason}" if hook.live_reason else ""
    return "" if hook.live else f"attached, but does not fire: {hook.live_reason}"


def _row(result: CaseResult) -> tuple[str, ...]:
    attributes = ",".join(f"{name}={word}" for name, word in result.attributes.items())
    name = f"{result.metric}{{{attributes}}}" if attributes else result.metric
    verdict = _MARKS[result.verdict] + (f": {result.why}" if result.verdict == "skipped" else "")
    if result.attempts > 1:
        verdict += f" ({result.attempts} attempts)"
    sums = " sum" if result.value == "sum" else ""
    return (name + sums, result.workload, _number(result.expected), _number(result.measured), result.oracle, verdict)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.4g}"
