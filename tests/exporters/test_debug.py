# SPDX-License-Identifier: Apache-2.0
"""The debug exporter writes readable text, harmless to terminals, and survives a reader that leaves."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from strategies import frames

from ebpf_sidecar.exporters.debug import FACTORY
from ebpf_sidecar.pipeline import ComponentKind, Kind, RowSet
from ebpf_sidecar.pipeline.testing import NOON, check_contract, fake_context, frame

DATA = Path(__file__).parents[1] / "data"
ROWS = RowSet.of(
    [
        {"k8s.pod.name": "web-1", "process.executable.name": "nginx", "process.pid": 7},
        {"k8s.pod.name": "", "process.executable.name": "esc\x1b[31m\nape\udcff", "process.pid": 4194304},
    ]
)
SAMPLE = (
    frame(
        "ebpf.cache.misses",
        [5, 2**64 - 1],
        ROWS,
        unit="{page}",
        description="Pages brought in",
        start_time_unix_nano=NOON - 10**10,
        resource={"host.name": "node-1"},
    ),
    frame("ebpf.cache.hit_rate", [99.5, float("nan")], ROWS, kind=Kind.GAUGE, unit="%"),
    frame("ebpf.block.io.duration", [[1, 2, 3], [0, 0, 0]], ROWS, bounds=[0.001, 1], sums=[7.5, 0], unit="s"),
    frame("ebpf.many", list(range(30))),
)


def exporter(**config):
    """An exporter that only records its telemetry."""
    return FACTORY.create(FACTORY.settings(**config), fake_context(ComponentKind.EXPORTER, "debug"))


def test_the_contract_is_kept():
    """Start, stop, empty frames, unknown keys."""
    check_contract(FACTORY, {"verbosity": "detailed", "format": "json", "limit": 3, "every": 2})


@pytest.mark.parametrize("verbosity", ["basic", "normal", "detailed"])
@pytest.mark.parametrize("format_", ["table", "json"])
def test_what_is_written_is_the_golden_text(capsys, golden, verbosity, format_):
    """Columns aligned, points beyond the limit counted, no control characters."""
    exporter(verbosity=verbosity, format=format_, limit=3).export(SAMPLE)

    golden(DATA / f"debug_{verbosity}.{format_}", capsys.readouterr().out)


def test_the_limit_can_be_lifted(capsys):
    """All thirty, and nothing about more."""
    exporter(limit=0).export(SAMPLE[3:])
    written = capsys.readouterr().out

    assert (30, False) == (written.count("ebpf.many"), "more" in written)


def test_batches_can_be_skipped(capsys):
    """The first of every three is written."""
    sampled = exporter(every=3, format="json", verbosity="normal")
    for number in range(7):
        sampled.export([frame("work", [number])])

    assert [0, 3, 6] == [json.loads(line)["value"] for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("wrong", [{"verbosity": "loud"}, {"format": "xml"}, {"limit": -1}, {"every": 0}])
def test_other_settings_are_refused(wrong):
    """With the setting's name."""
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        FACTORY.settings(**wrong)


@given(st.lists(frames(), max_size=3), st.sampled_from(["basic", "normal", "detailed"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_control_character_reaches_the_terminal(capsys, exported, verbosity):
    """Process names are chosen by whoever starts the process."""
    exporter(verbosity=verbosity).export(exported)
    written = capsys.readouterr().out

    assert all(line.isprintable() for line in written.split("\n"))


@given(st.lists(frames(), max_size=3), st.sampled_from(["basic", "normal", "detailed"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_json_lines_are_json_whatever_the_values(capsys, exported, verbosity):
    """Strictly: without NaN, one object per line, one line per point."""
    exporter(verbosity=verbosity, format="json", limit=0).export(exported)
    lines = capsys.readouterr().out.splitlines()

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    for line in lines:
        json.loads(line, parse_constant=refuse)
    assert len(lines) == (1 if verbosity == "basic" else sum(map(len, exported)))


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colours_are_for_terminals_that_want_them(monkeypatch, no_color, coloured):
    """https://no-color.org."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("NO_COLOR", no_color)
    exporter(verbosity="detailed").export(SAMPLE)

    assert coloured == ("\x1b[1m" in terminal.getvalue())


def test_a_terminal_that_lacks_characters_gets_escapes(monkeypatch):
    """In an ASCII locale nothing is lost but beauty."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    exporter(limit=1).export([frame("work", [1, 2], [{"a": "é"}, {"a": "b"}])])

    assert b"work 1 a=\\xe9 work \\u2026 1 more" == b" ".join(written.getvalue().split())


def test_an_output_that_was_closed_is_reported_once(monkeypatch):
    """The pipeline goes on without it."""
    closed = io.StringIO()
    closed.close()
    deaf = exporter()
    monkeypatch.setattr(sys, "stdout", closed)
    for _ in range(3):
        deaf.export(SAMPLE)

    assert 1 == len(deaf._context.telemetry.errors)


PIPED = """
from ebpf_sidecar.exporters.debug import FACTORY
from ebpf_sidecar.pipeline import ComponentKind
from ebpf_sidecar.pipeline.testing import fake_context, frame

context = fake_context(ComponentKind.EXPORTER, "debug")
exporter = FACTORY.create(FACTORY.settings(limit=0), context)
while not context.telemetry.errors:
    exporter.export([frame("work", list(range(1000)))])
exporter.export([frame("work", [1])])
"""


def test_a_reader_that_leaves_does_not_end_the_process():
    """``ebpf-sidecar run | head -1``: exit code 0, and no complaint from Python when it exits."""
    piped = subprocess.Popen(
        [sys.executable, "-c", PIPED], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ
    )
    first = piped.stdout.readline()
    piped.stdout.close()
    complaint = piped.stderr.read()
    piped.stderr.close()

    assert (b"work 0 row=0", b"", 0) == (b" ".join(first.split()), complaint, piped.wait(30))
