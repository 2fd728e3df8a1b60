# SPDX-License-Identifier: Apache-2.0
"""The generated parts of the documents are complete."""

import documents
import pytest
from documents.components import factories
from documents.page import page_size
from documents.probes import all_probes, prometheus_name

from ebpf_sidecar.pipeline.component import ComponentKind
from ebpf_sidecar.pipeline.config.service_settings import PipelineBody, ServiceBody
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.settings import Settings
from ebpf_sidecar.pipeline.telemetry.catalogue import catalogue


def paths_of(settings, prefix=""):
    """Every setting of a class by its path, nested classes included."""
    for name, info in settings.model_fields.items():
        yield f"{prefix}{name}"
        for inner in (info.annotation, *getattr(info.annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, Settings):
                yield from paths_of(inner, f"{prefix}{name}::")


def sections(text, marks):
    """The text below each heading of a level, by title."""
    return dict(part.split("\n", 1) for part in f"\n{text}".split(f"\n{marks} ")[1:])


def test_every_setting_of_every_component_is_there():
    """By its path, in the component's own section, together with the component's stability and an example."""
    found = {kind: factories(kind.value) for kind in ComponentKind}
    reported = {kind: sections(documents.components(kind.value), "##") for kind in ComponentKind}
    missing = [
        (kind.value, each.type, word)
        for kind in ComponentKind
        for each in found[kind]
        for word in (*(f"| `{path}` " for path in paths_of(each.settings)), f"Stability: {each.stability.value}.",
                     "```yaml\n")
        if word not in reported[kind][each.type]
    ]  # fmt: skip

    assert all(found.values())
    assert [] == missing


def test_settings_that_belong_to_no_component_are_there():
    """Of the service and its pipelines."""
    service = documents.service_settings()
    wanted = [(service, path) for path in (*paths_of(ServiceBody), *paths_of(PipelineBody, "pipelines::metrics::"))]

    assert [] == [path for text, path in wanted if f"| `{path}` " not in text]


def test_everything_about_each_probe_is_there():
    """Metrics under both names, settings, hooks with every way in, and maps, in the probe's own section."""
    reported = sections(documents.probes(), "##")
    words = [(probe.name, word) for probe in all_probes() for word in words_of(probe)]

    assert set(reported) >= {name for name, _ in words}
    assert [] == [(name, word) for name, word in words if f"`{word}`" not in reported[name]]


def words_of(probe):
    """All names that users meet."""
    for metric in probe.metrics:
        yield from (metric.name, prometheus_name(metric.name, metric.unit, metric.kind))
    for hook in probe.hooks:
        yield from (hook.name, *(way.event for way in hook.alternatives))
    yield from (setting.name for setting in probe.settings)
    yield from (spec.published for spec in probe.maps)


def test_the_metrics_of_no_probe_are_there():
    """The receiver's own, the percentages, and the service's telemetry: all of the catalogue that no probe makes."""
    text = documents.receiver_metrics() + documents.added_by_rate() + documents.own_telemetry()
    names = [metric.name for metric in catalogue(Plugins()) if metric.made_by.partition(" ")[0] != "probe"]

    assert ["ebpf.replay.info"] == [name for name in names if f"| `{name}` " not in text]


@pytest.mark.parametrize("processes", [100, 600])
def test_a_default_page_is_as_short_as_the_documents_promise(processes):
    """At most 10,000 series and 2 MB, for however many processes; with all buckets and rows it is many times that."""
    probes = ("page_cache", "block_io", "syscalls")
    series, size = page_size(probes, (), processes)
    before, _ = page_size(probes, (("fold_beyond", None), ("histogram_bounds", "full")), processes)

    assert series <= 10_000
    assert size <= 2_000_000
    assert before > 3 * series
