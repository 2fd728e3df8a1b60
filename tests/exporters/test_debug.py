# SPDX-License-Identifier: Apache-2.0
"""The debug exporter writes readable text, harmless to terminals, and survives a reader that leaves."""

import io
import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from strategies import frames
from waiting import until

from ebpf_sidecar.exporters.debug import FACTORY
from ebpf_sidecar.pipeline import ComponentKind, ExplicitBuckets, ExportError, Kind, RowSet
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


@pytest.mark.parametrize(("asked", "buckets"), [(None, [1, 2, 3]), ("full", [1, 2, 3]), ("default", [3, 3])])
def test_all_buckets_are_written_unless_fewer_are_requested(capsys, asked, buckets):
    """Whoever inspects a pipeline wants to see everything."""
    histogram = frame("wait", [[1, 2, 3]], buckets=ExplicitBuckets([0.001, 1], [1.0]))
    exporter(format="json", **({"histogram_bounds": asked} if asked else {})).export([histogram])

    assert buckets == json.loads(capsys.readouterr().out)["buckets"]


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
    """Process names are chosen by the user who starts the process."""
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


def closed():
    """An output that was closed on our side."""
    output = io.StringIO()
    output.close()
    return output


def opened(path):
    """An output without a buffer, which Python would try to write again when it exits."""
    return io.TextIOWrapper(io.FileIO(path, "w"), write_through=True)


@pytest.fixture(params=["none", "closed", "full"])
def unwritable(request):
    """An output of each kind that takes nothing."""
    with opened("/dev/full") as full:
        yield {"none": None, "closed": closed(), "full": full}[request.param]


def test_what_cannot_be_written_is_refused_and_the_next_batch_tried_again(monkeypatch, capsys, unwritable):
    """Output that cannot have been read does not count as sent; and disk space may become available again."""
    refused = exporter()
    monkeypatch.setattr(sys, "stdout", unwritable)
    for _ in range(2):
        with pytest.raises(ExportError, match="standard output cannot be written: "):
            refused.export(SAMPLE)
    monkeypatch.undo()
    refused.export(SAMPLE)

    assert "ebpf.cache.misses" in capsys.readouterr().out


def test_a_reader_that_leaves_is_the_end_of_the_exporter(monkeypatch):
    """The service gets the exit code with which filters end."""
    finished = []
    left = FACTORY.create(FACTORY.settings(), fake_context(ComponentKind.EXPORTER, "debug", finished=finished.append))
    reader, writer = os.pipe()
    with opened(f"/proc/self/fd/{writer}") as written:
        os.close(reader)
        monkeypatch.setattr(sys, "stdout", written)
        with pytest.raises(ExportError, match="has closed it"):
            left.export(SAMPLE)
    os.close(writer)

    assert [141] == finished


REPLAY = """
receivers: {{replay: {{speed: 100}}}}
exporters: {exporters}
service: {{pipelines: {{metrics: {{receivers: [replay], exporters: [{names}]}}}}}}
"""


@pytest.fixture
def left(tmp_path):
    """Start a service whose output is read for three lines only; its process and its log."""
    started = []

    def start(exporters, names):
        (tmp_path / "config.yaml").write_text(REPLAY.format(exporters=exporters, names=names))
        code = "from ebpf_sidecar.pipeline.cli.main import main; main()"
        with (tmp_path / "log").open("wb") as log:
            command = [sys.executable, "-c", code, "run", "-c", tmp_path / "config.yaml"]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        started.append(process)
        assert 3 == len([process.stdout.readline() for _ in range(3)])
        process.stdout.close()
        return process, tmp_path / "log"

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_service_whose_only_exporter_lost_its_reader_ends_as_a_filter_does(left):
    """``ebpf-sidecar run | head -3``: the exit code that SIGPIPE would give, and no word of a recovery."""
    process, log = left("{debug: {verbosity: basic}}", "debug")

    assert 141 == process.wait(60), log.read_text()
    assert "recovered" not in log.read_text()
    assert "Traceback" not in log.read_text()


def test_a_service_with_another_exporter_goes_on_without_the_reader(left):
    """Points that cannot be shown count as failed, until the service is stopped."""
    port = free_port()
    exporters = f'{{debug: {{verbosity: basic}}, prometheus: {{endpoint: "127.0.0.1:{port}"}}}}'
    process, log = left(exporters, "debug, prometheus")
    failed = re.compile(r'^ebpf_sidecar_exporter_send_failed_metric_points_total\{exporter="debug"[^}]*\} [1-9]', re.M)

    assert until(lambda: failed.search(page(port)))
    process.terminate()
    assert 0 == process.wait(60), log.read_text()
    assert "recovered" not in log.read_text()


def free_port():
    """A free port on the loopback interface."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def page(port):
    """What the Prometheus exporter serves."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return answer.read().decode()
