# SPDX-License-Identifier: Apache-2.0
"""Configurations that load, with or without warnings."""

from __future__ import annotations

from pathlib import Path

import pytest

from ebpf_sidecar.pipeline.component import ComponentId, ComponentKind
from ebpf_sidecar.pipeline.config.load import InlineSource, PipelineId, load, resolved
from ebpf_sidecar.pipeline.errors import ConfigError
from ebpf_sidecar.pipeline.plugins import Plugins

RECEIVER, PROCESSOR, EXPORTER, EXTENSION = ComponentKind
EBPF, PROMETHEUS = ComponentId(RECEIVER, "ebpf"), ComponentId(EXPORTER, "prometheus")
USERS = (Path(__file__).parents[2] / "data" / "configs" / "users.yaml").read_text()
SMALL = """
receivers: {ebpf: }
exporters: {prometheus: , debug: }
service: {pipelines: {metrics: {receivers: [ebpf], exporters: [prometheus, debug]}}}
"""


@pytest.fixture
def loaded(plugins):
    """Loads texts as sources, with overrides and environment variables."""

    def load_texts(*texts, overrides=(), environ=None):
        sources = [InlineSource(text.encode(), f"{number}.yaml") for number, text in enumerate(texts)]
        return load(sources, overrides, plugins, environ or {})

    return load_texts


def ebpf(config):
    """The settings of the receiver."""
    return config.receivers[EBPF].settings


def test_a_users_configuration_loads_unchanged(loaded):
    """The example of the documentation: ids, order and settings arrive, and the unused exporter is a warning."""
    config = loaded(USERS)
    pipeline = config.service.pipelines[PipelineId()]

    assert (EBPF,) == pipeline.receivers
    assert ["map_cleanup", "container", "rate"] == [str(id_) for id_ in pipeline.processors]
    assert (PROMETHEUS,) == pipeline.ids(EXPORTER)
    assert 0.5 == ebpf(config).collection_interval
    assert ["page_cache", "syscalls", "block_io"] == ebpf(config).probes
    assert [
        "0.yaml:12:3: exporters::debug/sample: exporter is configured but not used; list it in a pipeline or remove it"
    ] == [str(warning) for warning in config.warnings]


def test_components_are_named_type_slash_name_and_may_be_shared(loaded):
    """Several pipelines, two components of one type, one exporter in both."""
    config = loaded("""
        receivers: {ebpf: , ebpf/slow: {collection_interval: 1m30s}}
        exporters: {prometheus: }
        service:
          pipelines:
            metrics: {receivers: [ebpf], exporters: [prometheus]}
            metrics/slow: {receivers: [ebpf/slow], exporters: [prometheus]}
        """)
    slow = ComponentId(RECEIVER, "ebpf", "slow")

    assert ["metrics", "metrics/slow"] == [str(id_) for id_ in config.service.pipelines]
    assert (slow,) == config.service.pipelines[PipelineId("slow")].receivers
    assert 90.0 == config.receivers[slow].settings.collection_interval
    assert {PROMETHEUS} == config.service.used(EXPORTER)
    assert [EBPF, slow] == list(config.components(RECEIVER))
    assert (None, ()) == (config.service.pipelines.get(PipelineId("x")), config.warnings)


def test_what_is_left_empty_has_its_default(loaded):
    """Bodies and settings may be null; a null that means something stays."""
    config = loaded(SMALL, "receivers: {ebpf: {collection_interval: , filter: {names: }, retain: , labels: ~}}")

    assert (10.0, [], None, {}) == (
        ebpf(config).collection_interval,
        ebpf(config).filter.names,
        ebpf(config).retain,
        ebpf(config).labels,
    )
    assert (10.0, "info", ()) == (
        config.service.shutdown_timeout,
        config.service.telemetry.logs.level,
        config.service.extensions,
    )


def test_the_service_section_is_typed(loaded):
    """Durations, log levels in either case, resource attributes and extensions."""
    config = loaded(
        SMALL,
        """
        extensions: {health_check: }
        service:
          extensions: [health_check]
          shutdown_timeout: 2.5s
          telemetry: {logs: {level: DEBUG, encoding: json}, resource: {service.name: storage}}
        """,
    )
    service = config.service

    assert (2.5, (ComponentId(EXTENSION, "health_check"),)) == (service.shutdown_timeout, service.extensions)
    assert ("debug", "json") == (service.telemetry.logs.level, service.telemetry.logs.encoding)
    assert {"service.name": "storage"} == service.telemetry.resource


def test_text_settings_get_the_original_text_of_a_variable(loaded):
    """``0123`` and ``true`` are numbers and booleans only where the setting wants them, in lists as well."""
    environ = {"OCTAL": "0123", "YES": "true"}
    config = loaded(
        SMALL,
        """
        receivers:
          ebpf:
            {owner: "${OCTAL}", verify: "${YES}", mode: "${YES}", buffer: "${OCTAL}",
             probes: ["${OCTAL}", "${YES}"], labels: {a: "${YES}", b: "x${OCTAL}"}}
        """,
        environ=environ,
    )
    settings = ebpf(config)

    assert ("0123", True, "true", 83) == (settings.owner, settings.verify, settings.mode, settings.buffer)
    assert (["0123", "true"], {"a": "true", "b": "x0123"}) == (settings.probes, settings.labels)


def test_a_component_may_be_chosen_by_a_variable_without_a_warning(loaded):
    """Exporters that a reference chooses among are alternatives, not forgotten ones."""
    text = """
        receivers: {ebpf: , ebpf/unused: }
        exporters: {prometheus: , debug: }
        service: {pipelines: {metrics: {receivers: [ebpf], exporters: ["${env:TYPE:-prometheus}"]}}}
        """
    ids = [loaded(text, environ=environ).service.used(EXPORTER) for environ in ({}, {"TYPE": "debug"})]

    assert [{PROMETHEUS}, {ComponentId(EXPORTER, "debug")}] == ids
    assert ["receivers::ebpf/unused"] == [warning.path for warning in loaded(text).warnings]
    with pytest.raises(ConfigError, match='exporter "prometheus2" is not configured; did you mean "prometheus"'):
        loaded(text, environ={"TYPE": "prometheus2"})


def test_whole_lists_and_sections_may_come_from_variables(loaded):
    """A list in a variable is a list."""
    text = SMALL.replace("[prometheus, debug]", "'${env:EXPORTERS}'")
    config = loaded(text, environ={"EXPORTERS": "[debug, prometheus]"})

    assert ["debug", "prometheus"] == [str(id_) for id_ in config.service.pipelines[PipelineId()].exporters]


def test_later_sources_and_overrides_win(loaded):
    """Mappings are merged in depth, lists replaced, null gives a body its defaults back, --set comes last."""
    config = loaded(
        SMALL,
        "receivers: {ebpf: {buffer: 1, threads: 2, owner: a, probes: [a, b], filter: {names: [x]}}}",
        "receivers: {ebpf: {buffer: 2, probes: [c], filter: }}",
        overrides=["receivers.ebpf.owner=0123", "receivers::ebpf::owner='b'", "receivers.ebpf.labels={a: '${env:L}'}"],
        environ={"L": "x"},
    )
    settings = ebpf(config)

    assert (2, 2, ["c"], []) == (settings.buffer, settings.threads, settings.probes, settings.filter.names)
    assert ("b", {"a": "x"}) == (settings.owner, settings.labels)


def test_a_mistake_names_the_source_that_made_it(loaded):
    """The file, line and column; or the override."""
    with pytest.raises(ConfigError) as caught:
        loaded(
            SMALL, "\nreceivers: {ebpf: {buffer: x}}", overrides=["receivers.ebpf.threads=y", "exporters::debug::z=1"]
        )

    assert ["1.yaml:2:20", "--set receivers.ebpf.threads", "--set exporters::debug::z"] == [
        mistake.where for mistake in caught.value.mistakes
    ]


@pytest.mark.parametrize("override", ["receivers", "=5", "a..b=1", ".a=1", ".".join("a" * 51) + "=1", "a={b: 1, b: 2}"])
def test_invalid_overrides_are_mistakes(loaded, override):
    """Each is reported as such, and nothing else."""
    with pytest.raises(ConfigError) as caught:
        loaded(SMALL, overrides=[override])

    assert ["--set"] == [mistake.where.split()[0].partition(":")[0] for mistake in caught.value.mistakes]


@pytest.mark.parametrize("text", ["[::1]:80", "@x", "a: b: c", "[", "%", "`x`", "[[" * 500])
def test_an_override_that_is_no_yaml_is_text(loaded, text):
    """As the Collector takes it."""
    assert text == ebpf(loaded(SMALL, overrides=[f"receivers.ebpf.owner={text}"])).owner


def test_sections_of_the_users_own_are_a_place_for_anchors(loaded):
    """Keys that start with ``x-`` are not part of the configuration: neither unknown nor expanded nor shown."""
    text = "x-shared: &shared {owner: a, labels: {b: '${env:UNSET}'}}\n" + SMALL.replace(
        "ebpf: }", "ebpf: {<<: *shared, labels: {}}}"
    )

    assert "a" == ebpf(loaded(text)).owner
    assert "x-shared" not in resolved([InlineSource(text.encode())], [], {})


def test_only_plugins_that_are_named_are_imported(entries):
    """A broken plugin that no file names does not matter, and is not even imported."""
    plugins = Plugins(entries)
    load([InlineSource(SMALL.encode())], [], plugins, {})
    asked = [plugin.entry.name for _, _, plugin in plugins.all() if "hooks" in vars(plugin)]

    assert ["receiver.ebpf", "exporter.debug", "exporter.prometheus"] == asked


def test_a_loaded_configuration_cannot_be_changed(loaded):
    """Neither the sections nor the settings."""
    config = loaded(SMALL)

    with pytest.raises(TypeError):
        config.receivers[EBPF] = None
    with pytest.raises(ValueError, match="frozen"):
        ebpf(config).buffer = 3
    with pytest.raises(AttributeError):
        config.service.extensions = ()


def test_unreadable_files_are_mistakes_with_the_others(plugins, tmp_path):
    """Every source that cannot be read is named."""
    with pytest.raises(ConfigError) as caught:
        load([tmp_path / "none.yaml", tmp_path, InlineSource(b"a: [", "b")], [], plugins, {})

    assert [str(tmp_path / "none.yaml"), str(tmp_path), "b:1:5"] == [m.where for m in caught.value.mistakes]
    assert (
        "cannot be read: no such file or directory; check the path and its rights" == caught.value.mistakes[0].message
    )


def test_a_file_with_a_byte_order_mark_and_windows_line_ends_is_read(plugins, tmp_path):
    """As some editors write them."""
    file = tmp_path / "windows.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())

    assert [EBPF] == list(load([file], [], plugins, {}).receivers)


def test_resolved_is_merged_and_expanded_but_not_checked():
    """What people look at: plain values, unknown things included; unset variables are still mistakes."""
    sources = [InlineSource(b"receivers: {nothing: {a: '${A}', b: 1}}"), InlineSource(b"receivers: {nothing: {b: 2}}")]

    assert {"receivers": {"nothing": {"a": 7, "b": 2}}} == resolved(sources, [], {"A": "7"})
    with pytest.raises(ConfigError, match='"A" is not set'):
        resolved(sources, [], {})
