# SPDX-License-Identifier: Apache-2.0
"""What people and programs get."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from ebpf_sidecar.receivers.ebpf.maps.loaded import HookStatus
from ebpf_sidecar.receivers.ebpf.selftest import command, session
from ebpf_sidecar.receivers.ebpf.selftest.judging import CaseResult
from ebpf_sidecar.receivers.ebpf.selftest.progress import ProgressLine
from ebpf_sidecar.receivers.ebpf.selftest.report import HookReport, Report, hook_report, lines_of
from ebpf_sidecar.receivers.ebpf.watch.canary import Liveness

DATA = Path(__file__).parents[3] / "data"
BPF = Path(__file__).parents[4] / "bpf"
RIGHT = CaseResult(
    "ebpf.cache.misses", {}, "count", "cold_small", "read_bytes in /proc/<pid>/io", 16384, 16384.0, 81.92, "ok"
)
WRONG = CaseResult(
    "ebpf.syscall.duration",
    {"syscall": "readv"},
    "sum",
    "waiting",
    "the caller's own clock",
    0.2524,
    0.0,
    0.02524,
    "wrong",
    "expected 0.2524, measured 0",
)
SKIPPED = CaseResult(
    "ebpf.cache.read_attempts", {}, "count", "warm", "known number", None, None, None, "skipped", "came with 6.12"
)
HOOKS = (
    HookReport("page_cache", "page_add", True, "add_tracepoint", "tracepoint filemap:add", "", True),
    HookReport("page_cache", "page_lookup", False, "", "", "this kernel has no tracepoint"),
    HookReport("block_io", "merge", True, "merge_raw", "raw_tracepoint block:merge", "", None, "the kernel's choice"),
    HookReport(
        "block_io", "issue", True, "issue_raw", "raw_tracepoint block:issue", "", False, "its program did not run"
    ),
)
REPORT = Report(
    "1.2.3", "6.18.0", "x86_64", "0.26.0", "/var/tmp", "ext4", 64 << 20, 3.21, "", HOOKS, (RIGHT, WRONG, SKIPPED),
    {"cache_stats_map": 0, "completions": 5},
)  # fmt: skip


def test_people_see_expected_against_measured(golden):
    """What is not well comes first, and the sum of it all last."""
    golden(DATA / "selftest.txt", "\n".join(lines_of(REPORT)) + "\n")


def test_programs_get_a_stable_shape(golden):
    """The kernel matrix and users' scripts read it."""
    golden(DATA / "selftest.json", REPORT.to_json() + "\n")


@pytest.mark.parametrize(
    ("metrics", "error", "right"),
    [
        ((RIGHT, SKIPPED), "", True),
        ((RIGHT, WRONG), "", False),
        ((SKIPPED,), "", False),
        ((), "", False),
        ((RIGHT,), "no", False),
    ],
)
def test_only_what_was_checked_is_right(metrics, error, right):
    """A run that could check nothing has proven nothing."""
    assert right == replace(REPORT, metrics=metrics, error=error).right


class PlayedSession:
    """Answers with a report instead of running anything."""

    report = REPORT

    def __init__(self, probes, chosen, *rest, **more):
        self.asked.append([probe.name for probe in probes])

    def run(self):
        return self.report


@pytest.fixture
def call(monkeypatch):
    """Call the command over a played session: its exit code (or error), and which probes were requested."""

    def call(report, *arguments):
        played = type("Played", (PlayedSession,), {"report": report, "asked": []})
        monkeypatch.setattr(session, "Session", played)
        monkeypatch.setattr(command.signal, "signal", lambda *_: None)
        result = CliRunner().invoke(command.selftest, arguments, standalone_mode=False)
        return result, played.asked

    return call


@pytest.mark.parametrize(
    ("metrics", "code"),
    [((RIGHT, SKIPPED), 0), ((RIGHT, WRONG), 1), ((SKIPPED,), 1)],
    ids=["right", "wrong", "nothing"],
)
@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_the_exit_code_is_the_verdict(call, metrics, code, arguments):
    """As text and as JSON."""
    result, _ = call(replace(REPORT, metrics=metrics), *arguments)

    assert code == result.return_value
    assert not arguments or code == 1 - json.loads(result.stdout)["right"]


def test_missing_rights_are_the_loaders_own_words(call):
    """As an error for people, and in the JSON for programs."""
    refused = replace(REPORT, error="cannot load probes: CAP_BPF missing; run as root", hooks=(), metrics=())
    people, programs = call(refused)[0], call(refused, "--json")[0]

    assert "cannot load probes: CAP_BPF missing; run as root" == str(people.exception)
    assert 1 == programs.return_value
    assert "CAP_BPF missing" in json.loads(programs.stdout)["error"]


def test_without_names_all_installed_probes_are_tested(call):
    """With names only those, in their order."""
    _, everything = call(REPORT)
    _, two = call(REPORT, "--probe", "syscalls", "--probe", "block_io")

    assert {"page_cache", "block_io", "syscalls"} <= set(everything[0])
    assert [["syscalls", "block_io"]] == two


def test_a_configurations_probes_are_those_of_its_receiver(call, tmp_path):
    """A probe that it does not name is not tested."""
    file = tmp_path / "mine.yaml"
    text = "receivers: {ebpf: {probes: [syscalls]}}\nexporters: {debug: {}}\n"
    file.write_text(f"{text}service: {{pipelines: {{metrics: {{receivers: [ebpf], exporters: [debug]}}}}}}\n")
    _, asked = call(REPORT, "--config", str(file))
    refused, _ = call(REPORT, "--config", str(file), "--probe", "page_cache")

    assert [["syscalls"]] == asked
    assert 'unknown probe "page_cache"' in str(refused.exception)


def test_a_configuration_without_the_receiver_is_refused(call, tmp_path):
    """There is nothing to test."""
    file = tmp_path / "mine.yaml"
    text = "receivers: {replay: {}}\nexporters: {debug: {}}\n"
    file.write_text(f"{text}service: {{pipelines: {{metrics: {{receivers: [replay], exporters: [debug]}}}}}}\n")

    assert "no receiver ebpf" in str(call(REPORT, "--config", str(file))[0].exception)


def test_a_misspelt_probe_is_corrected(call):
    """By the nearest name."""
    assert 'unknown probe "page_cach"; did you mean "page_cache"?' in str(
        call(REPORT, "--probe", "page_cach")[0].exception
    )


def test_a_hook_is_reported_by_the_way_that_was_taken():
    """The loader reports; a hook that is not attached has none."""
    report = hook_report(HookStatus("page_cache", "page_add", "second", "", "tracepoint c:d"), Liveness(live=True))

    assert ("tracepoint c:d", True, True) == (report.way, report.attached, report.live)
    assert "" == hook_report(HookStatus("page_cache", "page_add", "", "no"), Liveness(None)).way


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self):
        return True


def test_progress_is_one_line_on_a_terminal_and_lines_elsewhere():
    """A log has no use for control characters, and a terminal is left clean."""
    terminal, log = Terminal(), io.StringIO()
    for stream in (terminal, log):
        shown = ProgressLine(stream)
        shown(0, 2, "reads")
        shown(2, 2, "")

    assert "[1/2] reads\n" == log.getvalue()
    assert "\r\x1b[K[1/2] reads\r\x1b[K" == terminal.getvalue()
