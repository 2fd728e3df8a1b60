# SPDX-License-Identifier: Apache-2.0
"""Which streams are coloured."""

import io

import pytest

from ebpf_sidecar.pipeline.terminal import wants_colours


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "no_color", "coloured"),
    [(Terminal(), "", True), (Terminal(), "1", False), (io.StringIO(), "", False), (None, "", False)],
    ids=["terminal", "terminal, NO_COLOR", "file", "closed"],
)
def test_colours_are_for_terminals_that_want_them(monkeypatch, stream, no_color, coloured):
    """https://no-color.org."""
    monkeypatch.setenv("NO_COLOR", no_color)

    assert coloured == wants_colours(stream)
