# SPDX-License-Identifier: Apache-2.0
"""Each probe as its YAML describes it."""

from __future__ import annotations

from collections.abc import Iterator

from ebpf_sidecar.exporters.exposition.names import metric_name
from ebpf_sidecar.pipeline.frame import Kind
from ebpf_sidecar.pipeline.histogram_bounds import SECONDS, format_nanoseconds
from ebpf_sidecar.pipeline.settings import format_bytes
from ebpf_sidecar.receivers.ebpf.loading.map_sizing import SizingMachine, allocation_size
from ebpf_sidecar.receivers.ebpf.probe.file import find_probes, read_probe
from ebpf_sidecar.receivers.ebpf.probe.model import (
    AttachPoint,
    Attribute,
    MapSpec,
    Metric,
    Probe,
    ProbeHook,
    Setting,
    Slots,
    Spread,
)

from .text import block, bullets, code, codes, either, inline, paragraph, sentence, table
from .tree import ROOT

_DECODED = {
    "syscall": "the call's name, as in `pread64`",
    "errno": "the error's name, as in `ENOENT`",
    "device": "the block device, as in `sda`",
}
_MAPS = (
    "Entries are for the default budget of 16 MiB for the maps of all probes; an entry takes at most that many bytes "
    "of kernel memory."
)


def all_probes() -> list[Probe]:
    """Our own probes, by name."""
    return [read_probe(path) for _, path in sorted(find_probes([ROOT / "bpf"]).items())]


@block
def probes() -> str:
    """A table of all probes, then a section for each."""
    found = all_probes()
    rows = [(f"[{probe.name}](#{probe.name})", probe.stability, probe.kernel, inline(probe.summary)) for probe in found]
    overview = table(("probe", "stability", "oldest kernel", "what it measures"), rows)
    return "\n\n".join([overview, *("\n\n".join(_section(probe)) for probe in found)])


def prometheus_name(name: str, unit: str, kind: str) -> str:
    """The metric's name on ``/metrics``, as the exporter itself makes it."""
    return metric_name(name, unit, Kind(kind)).text


def _section(probe: Probe) -> Iterator[str]:
    yield f"## {probe.name}"
    yield paragraph(inline(probe.summary))
    yield f"Stability: {probe.stability}. Oldest kernel: {probe.kernel}."
    yield paragraph(f"**How to read it.** {sentence(probe.reading)}")
    yield paragraph(f"**What it costs.** {sentence(probe.cost) or 'Not measured yet.'}")
    yield "### Metrics of " + probe.name
    yield _metrics(probe)
    yield bullets(f"{code(metric.name)}: {inline(metric.reading)}" for metric in probe.metrics)
    yield from _attributes(probe)
    yield from _default_bounds(probe)
    yield from _settings(probe)
    yield f"### Hooks of {probe.name}\n\nEach hook is attached at the first alternative that the kernel has."
    yield _hooks(probe)
    yield f"### Kernel maps of {probe.name}\n\n{paragraph(_MAPS)}"
    yield table(
        ("map", "entries", "bytes each", "reason"),
        ((code(each.published), _entries(each), f"{_bytes(each):,}", sentence(each.reason)) for each in probe.maps),
    )


def _entries(spec: MapSpec) -> str:
    near = f", and {spec.near:,} in its near map (near.h)" if spec.near else ""
    return f"{spec.entries:,}{near}"


def _bytes(spec: MapSpec) -> int:
    return spec.value if spec.array else allocation_size(spec, SizingMachine(1))


def _metrics(probe: Probe) -> str:
    return table(
        ("OpenTelemetry name", "Prometheus name", "kind", "unit", "attributes", "meaning"),
        (
            (
                code(metric.name),
                code(prometheus_name(metric.name, metric.unit, metric.kind)),
                metric.kind,
                code(metric.unit),
                codes(_names(metric)),
                inline(metric.description),
            )
            for metric in probe.metrics
        ),
    )


def _names(metric: Metric) -> list[str]:
    spread = [metric.value.attribute] if isinstance(metric.value, Spread) else []
    return [*(attribute.name for attribute in metric.attributes), *spread]


def _attributes(probe: Probe) -> Iterator[str]:
    values = dict(value for metric in probe.metrics for value in _values(metric))
    if values:
        yield "Values of the attributes:"
        yield bullets(f"{code(name)}: {reported}" for name, reported in values.items())


def _values(metric: Metric) -> Iterator[tuple[str, str]]:
    if isinstance(metric.value, Spread):
        yield metric.value.attribute, codes(metric.value.values)
    for attribute in metric.attributes:
        yield attribute.name, _words(attribute)


def _default_bounds(probe: Probe) -> Iterator[str]:
    shown = [metric for metric in probe.metrics if isinstance(metric.value, Slots) and metric.value.default_exponents]
    if shown:
        yield "Bounds of the buckets that exporters show by default (`histogram_bounds`):"
        yield bullets(f"{code(metric.name)}: {codes(_bounds(metric))}" for metric in shown)


def _bounds(metric: Metric) -> list[str]:
    exponents = metric.value.default_exponents if isinstance(metric.value, Slots) else ()
    return [(format_nanoseconds if metric.unit == SECONDS else format_bytes)(2**each) for each in exponents]


def _words(attribute: Attribute) -> str:
    if isinstance(attribute.decode, str):
        return _DECODED[attribute.decode]
    words = codes(dict.fromkeys(word for word in attribute.decode.values() if word))
    return words if all(attribute.decode.values()) else f"{words}, or absent"


def _settings(probe: Probe) -> Iterator[str]:
    if not probe.settings:
        return
    yield f"### Settings of {probe.name}"
    yield bullets(
        f"{code(each.name)} ({_kind(each)}): {inline(each.description)}. Default: {code(_default(each.default))}."
        for each in probe.settings
    )


def _kind(setting: Setting) -> str:
    if setting.type == "words":
        return f"a list of {codes(setting.words)}"
    return {"syscalls": "a list of names of system calls", "integer": "a whole number"}[setting.type]


def _default(value: tuple[str, ...] | int) -> str:
    return str(value) if isinstance(value, int) else f"[{', '.join(value)}]"


def _hooks(probe: Probe) -> str:
    rows = (
        (
            code(hook.name) if first else "",
            code(point.event),
            _attached(point),
            _since(point),
            _reason(hook) if first else "",
        )
        for hook in probe.hooks
        for first, point in zip([True, *[False] * len(hook.alternatives)], hook.alternatives, strict=False)
    )
    return table(("hook", "attaches to", "as", "since", "reason"), rows)


def _attached(point: AttachPoint) -> str:
    return point.attach.replace("_", " ")


def _since(point: AttachPoint) -> str:
    since = either([reported for reported in (point.since, point.commit and code(point.commit)) if reported] or [""])
    return ", ".join(reported for reported in (since, point.until and f"before {point.until}") if reported)


def _reason(hook: ProbeHook) -> str:
    return sentence(hook.reason)
