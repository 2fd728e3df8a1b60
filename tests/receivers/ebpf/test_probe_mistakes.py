# SPDX-License-Identifier: Apache-2.0
"""Mistakes in probes and in their settings, as the commands that read a configuration report them."""

from pathlib import Path

import pytest

from ebpf_sidecar.pipeline.config.load import InlineSource, load
from ebpf_sidecar.pipeline.errors import ConfigError
from ebpf_sidecar.pipeline.plugins import Plugins

WRONG = Path(__file__).parents[2] / "data" / "probes" / "wrong"


def test_the_mistakes_in_all_probes_that_are_named_are_reported(tmp_path, monkeypatch):
    """At their places in the probes' own files, by every command that reads a configuration."""
    for name in ("metric_without_hooks", "value_of_no_form", "empty"):
        (tmp_path / f"{name}.yaml").write_bytes((WRONG / f"{name}.yaml").read_bytes())
        (tmp_path / f"{name}.c").touch()
    monkeypatch.setattr(Plugins, "probe_folders", lambda self: (tmp_path,))
    config = (
        "{receivers: {ebpf: {probes: [metric_without_hooks, value_of_no_form]}}, exporters: {debug: }, service: {}}"
    )

    with pytest.raises(ConfigError) as caught:
        load([InlineSource(config.encode())], [], Plugins(), {})

    files = [str(tmp_path / name) for name in ("metric_without_hooks.yaml:48:5", "value_of_no_form.yaml:38:5")]
    assert set(files) <= {mistake.where for mistake in caught.value.mistakes}
    assert "empty.yaml" not in str(caught.value)


def test_each_mistake_in_a_probes_settings_is_reported_at_its_place():
    """Rather than all of them in one line, at the first probe."""
    config = """
receivers:
  ebpf:
    probes:
      syscalls: {syscals: [], syscalls: [read, raed]}
      page_cach:
exporters: {debug: {histogram_bounds: [1ms, 1.024us, soon]}}
service: {pipelines: {metrics: {receivers: [ebpf], exporters: [debug]}}}
"""
    with pytest.raises(ConfigError) as caught:
        load([InlineSource(config.encode(), "f")], [], Plugins(), {})

    places = [str(mistake).partition(': "')[0].partition(": unknown")[0] for mistake in caught.value.mistakes]
    assert [
        "f:5:18: receivers::ebpf::probes::syscalls::syscals",
        "f:5:48: receivers::ebpf::probes::syscalls::syscalls::1",
        "f:6:7: receivers::ebpf::probes::page_cach",
        "f:7:40: exporters::debug::histogram_bounds::0",
        "f:7:54: exporters::debug::histogram_bounds::2",
    ] == places
