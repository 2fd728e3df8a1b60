# SPDX-License-Identifier: Apache-2.0
import pytest
from pydantic import ValidationError

from ebpf_sidecar.pipeline import ComponentKind
from ebpf_sidecar.pipeline.component import MapCleanup, UpstreamRequest
from ebpf_sidecar.pipeline.testing import check_contract, fake_context, frame
from ebpf_sidecar.processors.map_cleanup import register_components

[FACTORY] = register_components()


def made(**settings):
    """The processor with these settings."""
    return FACTORY.create(FACTORY.settings(**settings), fake_context(ComponentKind.PROCESSOR, "map_cleanup"))


def test_the_contract_is_kept():
    """The processor behaves as every component must."""
    check_contract(FACTORY, {"cleanup_strategy": "clear_after_read", "cleanup_interval": "30s"})


def test_frames_pass_unchanged():
    """The output is the input, the very same objects."""
    frames = (frame("work.done", [1, 2]), frame("work.done", [3]))

    assert made().process(frames) is frames


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, MapCleanup("keep_recent", 30.0, 300.0)),
        (
            {"cleanup_strategy": "clear_after_read", "cleanup_interval": "1m30s"},
            MapCleanup("clear_after_read", 90.0, 300.0),
        ),
        ({"cleanup_strategy": "no_cleanup"}, MapCleanup("no_cleanup", 30.0, 300.0)),
        ({"stale_after": "500ms"}, MapCleanup("keep_recent", 30.0, 0.5)),
    ],
)
def test_settings_become_a_request_upstream(settings, expected):
    """The graph finds the request by its protocol and hands on what was written."""
    processor = made(**settings)

    assert isinstance(processor, UpstreamRequest)
    assert expected == processor.map_cleanup


@pytest.mark.parametrize(
    "settings",
    [{"cleanup_strategy": "keep_all"}, {"cleanup_interval": "0s"}, {"stale_after": "-1m"}, {"cleanup_interval": 30}],
)
def test_wrong_settings_are_refused(settings):
    """Unknown strategies and times that are not above zero, or have no unit, are mistakes."""
    with pytest.raises(ValidationError):
        made(**settings)
