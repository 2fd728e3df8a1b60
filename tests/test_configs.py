# SPDX-License-Identifier: Apache-2.0
"""The ready configurations, with the components that are really installed."""

from __future__ import annotations

from pathlib import Path

from ebpf_sidecar.pipeline.cli.commands import exit_code
from ebpf_sidecar.pipeline.config.load import InlineSource, PipelineId, load
from ebpf_sidecar.pipeline.config.locations import DEFAULT
from ebpf_sidecar.pipeline.plugins import Plugins

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))
USERS = (Path(__file__).parent / "data" / "configs" / "users.yaml").read_bytes()


def default(**environ):
    """The packaged configuration."""
    return load([DEFAULT], [], Plugins(), environ)


def test_every_ready_configuration_passes_the_check_without_a_warning(capsys):
    """With no environment variable set."""
    checked = {}
    for file in CONFIGS:
        code = exit_code(["check", "--config", str(file)])
        out, err = capsys.readouterr()
        checked[file.name] = (code, out.partition("\n")[0], err)

    assert dict.fromkeys((file.name for file in CONFIGS), (0, "ok", "")) == checked


def test_every_ready_configuration_starts_with_its_audience():
    """The first line names it, and the README's table shows it."""
    assert [] == [file.name for file in CONFIGS if not file.read_text(encoding="utf-8").startswith("# For ")]


def test_two_environment_variables_change_the_default():
    """Interval and exporter, as the documentation says."""
    config = default(EBPF_SIDECAR_COLLECTOR_INTERVAL="1m30s", EBPF_SIDECAR_EXPORT_TYPE="debug")

    assert [90.0] == [receiver.settings.collection_interval for receiver in config.receivers.values()]
    assert ["debug"] == [str(id_) for id_ in config.service.pipelines[PipelineId()].exporters]


def test_a_users_configuration_loads_with_the_real_components():
    """The documentation's example, as it stands."""
    config = load([InlineSource(USERS)], [], Plugins(), {})
    [receiver] = config.receivers.values()

    assert (0.5, ["page_cache", "syscalls", "block_io"]) == (
        receiver.settings.collection_interval,
        list(receiver.settings.probes),
    )
    assert ["exporters::debug/sample"] == [warning.path for warning in config.warnings]
