# SPDX-License-Identifier: Apache-2.0
"""The locations that ``--config`` takes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from ebpf_sidecar.pipeline.config.bounded_read import MAX_BYTES
from ebpf_sidecar.pipeline.config.locations import DEFAULT, config_sources
from ebpf_sidecar.pipeline.config.sources import InlineSource, merged_document
from ebpf_sidecar.pipeline.errors import ConfigError


@pytest.fixture
def standard_input(monkeypatch):
    """Puts bytes on standard input."""

    def given(content):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))

    return given


def test_without_a_location_the_packaged_file_is_read():
    """And a path is a path, with or without its scheme."""
    assert [DEFAULT] == config_sources([])
    assert [Path("a.yaml"), Path("b//c.yaml"), Path("x:y")] == config_sources(["a.yaml", "file:b//c.yaml", Path("x:y")])


def test_text_and_variables_are_locations_as_in_the_collector(monkeypatch):
    """Keys may be paths there; a file that is named before is changed by them."""
    monkeypatch.setenv("MINE", "exporters: {debug: {verbosity: basic}}")
    document = merged_document(
        config_sources(["env:MINE", "yaml:exporters::debug::url: http://x//y", "yaml:exporters::debug::a: 1"])
    )

    assert {"exporters": {"debug": {"verbosity": "basic", "url": "http://x//y", "a": 1}}} == document.value
    assert "yaml::1:1" == str(document.marks["exporters", "debug", "url"])


def test_a_variable_that_is_not_set_is_a_mistake():
    """Named as it was written."""
    with pytest.raises(ConfigError, match=r"^env:EBPF_SIDECAR_UNSET: the environment variable is not set; set it"):
        config_sources(["env:EBPF_SIDECAR_UNSET"])


def test_a_variable_that_is_no_utf8_is_a_mistake(monkeypatch):
    """As a file is."""
    monkeypatch.setenv("BAD", "a: \udcff")
    with pytest.raises(ConfigError, match=r"^env:BAD:1:4: not UTF-8: byte 0xff; save the file as UTF-8"):
        merged_document(config_sources(["env:BAD"]))


def test_standard_input_is_read_once(standard_input):
    """Its second reading would be empty, and silently so."""
    standard_input(b"a: 1")

    assert [InlineSource(b"a: 1")] == config_sources(["-"])
    with pytest.raises(ConfigError, match='standard input can be read only once; name "-" once'):
        config_sources(["-", "-"])


def test_standard_input_is_read_with_a_bound(standard_input):
    """Whoever pipes too much reads what the limit is."""
    standard_input(b"#" * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match=r"^stdin: is longer than 1 MiB; give a smaller file"):
        config_sources(["-"])


def test_a_name_that_is_not_utf8_can_be_shown():
    """File names are any bytes."""
    with pytest.raises(ConfigError, match=r"^/nowhere/\\xff: cannot be read") as refused:
        merged_document([Path("/nowhere/\udcff")])

    assert str(refused.value).encode()
