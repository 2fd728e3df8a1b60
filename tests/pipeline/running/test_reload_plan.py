# SPDX-License-Identifier: Apache-2.0
"""What a reload keeps, changes, adds and removes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reloaded import EXTENSION, World

from ebpf_sidecar.pipeline.component import ComponentId, ComponentKind
from ebpf_sidecar.pipeline.config.load import InlineSource, load
from ebpf_sidecar.pipeline.errors import ConfigError
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.running.reload_plan import parts_of, plan
from ebpf_sidecar.receivers.ebpf import settings as module
from ebpf_sidecar.receivers.ebpf.settings import SHED_ORDER, EbpfSettings

NAMES = ("a", "b", "c")
LISTS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True).map(" ".join)
PIPELINES = st.dictionaries(st.sampled_from(["", "two"]), st.tuples(LISTS, LISTS, LISTS), min_size=1)
WRITTEN = st.dictionaries(st.sampled_from([*NAMES, "x"]), st.builds(dict, value=st.integers(0, 1)))
CONFIGS = st.builds(lambda pipelines, extensions, written: (pipelines, extensions, written), PIPELINES,
                    st.sampled_from(["", "x"]), WRITTEN)  # fmt: skip


def config(drawn):
    """A configuration of words."""
    pipelines, extensions, written = drawn
    return World().config(pipelines, extensions, **written)


def names(keys):
    """Components as words."""
    return sorted(str(key) for key in keys)


def nothing(_key):
    """No component uses an extension."""
    return ()


@given(CONFIGS)
def test_an_equal_configuration_changes_nothing(drawn):
    """Although each of its objects is another one."""
    planned = plan(config(drawn), config(drawn), nothing)

    assert (frozenset(), frozenset()) == (planned.gone, planned.fresh)
    assert planned.kept == parts_of(config(drawn)).keys()


@given(CONFIGS, CONFIGS)
def test_every_component_has_one_fate(one, other):
    """Those of the old configuration are kept, changed or removed, those of the new one kept, changed or added."""
    old, new = config(one), config(other)
    planned = plan(old, new, nothing)

    assert parts_of(old).keys() == planned.kept | planned.changed | planned.removed
    assert parts_of(new).keys() == planned.kept | planned.changed | planned.added
    assert 4 * [0] == [len(planned.kept & planned.gone), len(planned.changed & planned.removed),
                       len(planned.kept & planned.fresh), len(planned.changed & planned.added)]  # fmt: skip
    assert all(parts_of(old)[key].settings == parts_of(new)[key].settings for key in planned.kept)
    assert not any(parts_of(old)[key].settings == parts_of(new)[key].settings for key in planned.changed)


def test_what_uses_an_extension_ends_with_it():
    """A queue on the disk cannot outlive the disk; and a component that uses no changed extension lives on."""
    pipelines = {"": ("r", "p", "disk ram")}
    old, new = (World().config(pipelines, "x y", x={"value": value}) for value in (1, 2))
    used = {"disk": ["x"], "ram": ["y"]}
    planned = plan(old, new, lambda key: [ComponentId(EXTENSION, each) for each in used.get(str(key.id), ())])

    assert ["exporter disk", "extension x"] == names(planned.changed)
    assert ["exporter ram", "extension y", "processor p (metrics)", "receiver r"] == names(planned.kept)
    assert ["exporter disk"] == names(planned.first & {key for key in planned.gone if key.id.kind != EXTENSION})


def test_what_needs_the_port_of_another_starts_after_that_has_ended():
    """By what the factories claim; all others start while everything still runs."""
    pipelines = {"": ("r", "", "a b c")}
    old = World().config(pipelines, a={"port": 1}, b={"port": 2}, c={"port": 3})
    new = World().config(pipelines, a={"port": 1, "value": 1}, b={"port": 4}, c={"port": 2})
    planned = plan(old, new, nothing)

    assert ["exporter a", "exporter b"] == names(planned.first)
    assert ["exporter a", "exporter b", "exporter c"] == names(planned.last)


def test_a_processor_of_one_pipeline_is_not_that_of_another():
    """Each has its own state."""
    planned = plan(World().config({"": ("r", "p", "e")}), World().config({"two": ("r", "p", "e")}), nothing)

    assert ["processor p (metrics)"] == names(planned.removed)
    assert ["processor p (metrics/two)"] == names(planned.added)


def test_when_the_resource_has_changed_everything_is_new():
    """Each component may hold it."""
    planned = plan(World().config({"": ("r", "p", "e")}), World().config({"": ("r", "p", "e")}), nothing, rebuild=True)

    assert (0, 3) == (len(planned.kept), len(planned.changed))


def test_all_installed_components_compare_by_value():
    """Written twice in different words, every one of them lives on."""
    text = """
receivers: {{ebpf: {{collection_interval: {interval}, probes: [page_cache]}}, replay: {{speed: 2}}}}
processors: {{container: , rate: , map_cleanup: }}
exporters:
  debug: {{}}
  prometheus: {{endpoint: "127.0.0.1:9", const_labels: {{a: b}}, histogram_bounds: [4KiB]}}
  otlp: {{endpoint: "127.0.0.1:4317", timeout: {interval}}}
  otlphttp: {{endpoint: "http://127.0.0.1:4318", sending_queue: {{queue_size: 1MiB}}}}
extensions: {{health_check: {{grpc: {{endpoint: "127.0.0.1:8"}}}}}}
service:
  extensions: [health_check]
  pipelines:
    metrics:
      receivers: [ebpf, replay]
      processors: [container, rate, map_cleanup]
      exporters: [debug, prometheus, otlp, otlphttp]
"""
    plugins = Plugins()
    old, new = (load([InlineSource(text.format(interval=each).encode())], [], plugins, {}) for each in ("90s", "1m30s"))

    assert set() == set(plan(old, new, nothing).gone)
    assert {ComponentKind.RECEIVER, ComponentKind.EXPORTER} < {key.id.kind for key in parts_of(new)}


def test_settings_of_the_receiver_differ_if_they_turn_off_other_probes(monkeypatch):
    """Unless ``shed`` is written, third-party probes are turned off first."""
    written = {"max_overhead": "1%", "probes": list(SHED_ORDER)}
    default, explicit = EbpfSettings(**written), EbpfSettings(**written, shed=SHED_ORDER)
    same = default == explicit == EbpfSettings(**written)
    monkeypatch.setattr(module, "SHED_ORDER", SHED_ORDER[:-1])  # as if the last were somebody else's

    assert same
    assert default == EbpfSettings(**written)
    assert default != explicit


def test_a_folder_that_two_would_need_passes_from_one_to_the_next(tmp_path):
    """A directory of queues belongs to one at a time, whatever else has changed; ``check`` tells two that want it."""
    text = """
receivers: {replay: }
exporters: {debug: }
extensions: {file_storage: {directory: %s, max_size: %s}, file_storage/b: {directory: %s}}
service: {extensions: [%s], pipelines: {metrics: {receivers: [replay], exporters: [debug]}}}
"""
    plugins, folder = Plugins(), tmp_path

    def written(size, extensions):
        filled = text % (folder, size, folder, extensions)
        return load([InlineSource(filled.encode())], [], plugins, {})

    same = plan(written("1MiB", "file_storage"), written("2MiB", "file_storage"), nothing)
    other = plan(written("1MiB", "file_storage"), written("1MiB", "file_storage/b"), nothing)
    with pytest.raises(ConfigError, match='is taken by extension "file_storage"; choose another folder'):
        written("1MiB", "file_storage, file_storage/b")

    assert (["extension file_storage"], ["extension file_storage"]) == (names(same.first), names(same.last))
    assert (["extension file_storage"], ["extension file_storage/b"]) == (names(other.first), names(other.last))
