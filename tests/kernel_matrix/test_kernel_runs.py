# SPDX-License-Identifier: Apache-2.0
"""A run of the matrix, with stand-ins for the guests, and what it means for CI."""

import json
import subprocess
from pathlib import Path

import pytest
from kernels import matrix
from kernels.__main__ import cache_folder, main, steady
from kernels.deadline import Deadline
from kernels.guest import GuestResult, emulate
from kernels.images import Image
from kernels.matrix import RUNNING, Matrix
from kernels.outcome import Checked, HookOutcome, Outcome, read_committed, write_committed
from kernels.programs import Unavailable
from kernels.settling import settle

PROVE = Path(matrix.__file__).with_name("prove")
REPORT = json.dumps({"kernel": "6.1.0", "error": "", "hooks": [], "metrics": []})
GOOD = Outcome("6.1.0", "", {"a.b": HookOutcome("tracepoint a:b", live=True)}, {"m": Checked("right")}, answered=True)
SILENT = Outcome(
    "6.1.0", "", {"a.b": HookOutcome("tracepoint a:b", live=False)}, {"m": Checked("right")}, answered=True
)


def image(series):
    """A mirror that has no 6.18 any more."""
    if series == "6.18":
        raise Unavailable("no suite of the mirror has it any longer")
    return Image(f"{series}.0", Path("/k"), ())


@pytest.fixture
def heard():
    """What was reported while it ran."""
    return []


@pytest.fixture
def run(tmp_path, monkeypatch, heard):
    """Run the matrix on the named series, as root, with guests that end as given."""
    (tmp_path / "last").mkdir()

    def run(*series, ended=None):
        monkeypatch.setattr(matrix, "run_in_guest", lambda *arguments: ended)
        monkeypatch.setattr("os.geteuid", lambda: 0)

        def reports(series, what, seconds):
            heard.append((series, what))

        return Matrix(image, tmp_path, Deadline(60), reports, ["echo", REPORT], ["--quick"]).run(series)

    return run


def ended(**changes):
    """How a guest ended whose selftest reported."""
    usual = {"code": 0, "output": REPORT, "errors": "", "console": "", "seconds": 9, "running": True, "in_time": True}
    return GuestResult(**{**usual, **changes})


def test_each_kernel_has_its_row_in_the_requested_order(run, tmp_path):
    """The running kernel is measured first, undisturbed, and reported where it was requested; all reports are kept."""
    found = run("6.18", "6.1", RUNNING, ended=ended())

    assert ["6.18", "6.1", RUNNING] == list(found)
    assert Outcome(problem="no suite of the mirror has it any longer") == found["6.18"]
    assert Outcome("6.1.0", answered=True) == found["6.1"] == found[RUNNING]
    assert REPORT == (tmp_path / "last/6.1.json").read_text() == (tmp_path / "last/running.json").read_text().strip()


@pytest.mark.parametrize(("codes", "tries"), [("0", 1), ("1 0", 2), ("1 1 1 0", 3), ("2 0", 1)])
def test_what_fails_in_a_guest_is_tried_twice_more_there(tmp_path, codes, tries):
    """And nothing else is; a pytest that cannot start is not started again."""
    (tmp_path / "codes").write_text("\n".join(codes.split()))
    python = tmp_path / "python"
    python.write_text(f"""#!/bin/sh
cd {tmp_path}
echo "$*" >> asked
echo proven > "$EBPF_SIDECAR_PROOFS"
code=$(head -1 codes)
sed -i 1d codes
exit $code
""")
    python.chmod(0o755)

    done = subprocess.run([PROVE, python, tmp_path / "proofs"], stdout=subprocess.PIPE, text=True, check=True)

    asked = (tmp_path / "asked").read_text().splitlines()
    assert "proven\n" == done.stdout
    assert [False, *[True] * (tries - 1)] == ["--last-failed" in words for words in asked]
    assert {"tests/kernel/guest"} == {words.split()[-1] for words in asked}


def test_progress_is_reported_for_each_kernel(run, heard):
    """Whoever waits for minutes wants to see progress."""
    run("6.1", "6.18", ended=ended())

    assert {
        ("6.1", "fetching"),
        (
            "6.1",
            "done: 0 of 0 metrics right, checks: 0 right, 0 wrong, 0 unchecked",
        ),
        ("6.18", "fetching"),
        ("6.18", "not available: no suite of the mirror has it any longer"),
    } == set(heard)


@pytest.mark.parametrize(
    ("how", "problem", "answered"),
    [
        ({"in_time": False}, "the guest did not finish after 9 s", False),
        ({"running": False, "console": "a\nKernel panic\n"}, "the guest died while booting: Kernel panic", False),
        ({}, "the guest died at work: it printed nothing", False),
        ({"code": 1, "output": "", "errors": "Error: no"}, "the selftest failed: Error: no", True),
    ],
)
def test_a_guest_without_a_report_is_described_by_how_it_ended(run, how, problem, answered):
    """Only a selftest that ended by itself has answered."""
    found = run("6.1", ended=ended(**{"code": None, "output": "", **how}))

    assert Outcome("6.1.0", problem, answered=answered) == found["6.1"]


def test_a_guest_for_which_no_time_is_left_is_not_started(tmp_path):
    """It would not even boot."""
    found = Matrix(image, tmp_path, Deadline(9), lambda *_: None, ["false"]).run(["6.1"])

    assert Outcome(problem="no time was left for it") == found["6.1"]


def test_without_rights_the_running_kernels_row_has_the_reason(monkeypatch, tmp_path):
    """Guests continue: there one is root in any case."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    found = Matrix(image, tmp_path, Deadline(60), lambda *_: None, ["false"]).run([RUNNING])

    assert "not root, so no eBPF" == found[RUNNING].problem


def test_a_selftest_that_hangs_here_is_ended(monkeypatch, tmp_path):
    """All must be over at the deadline."""
    monkeypatch.setattr("os.geteuid", lambda: 0)

    found = Matrix(image, tmp_path, Deadline(0), lambda *_: None, ["sleep", "60"]).run([RUNNING])

    assert "the selftest did not finish in time" == found[RUNNING].problem


def test_the_guests_console_is_reported():
    """Its console shows when the work starts."""
    reported = []
    console, in_time = emulate(["sh", "-c", "echo guest: booted; echo guest: running; echo bye"], 60, reported.append)

    assert ("guest: booted\nguest: running\nbye\n", True) == (console, in_time)
    assert ["running"] == reported


def test_a_guest_that_hangs_is_ended():
    """And what it said until then is kept."""
    console, in_time = emulate(["sh", "-c", "echo guest: booted; exec sleep 60"], 0.2, lambda _: None)

    assert not in_time
    assert "guest: running" not in console


@pytest.fixture
def committed(tmp_path):
    """A committed table in which 6.1 is good."""
    path = tmp_path / "kernels.json"
    write_committed({"6.1": GOOD, RUNNING: GOOD}, path)
    return path


def test_a_regression_fails_and_is_named(committed, capsys):
    """CI's last lines say which hook on which kernel."""
    code = settle({"6.1": SILENT}, update=False, path=committed)

    assert 1 == code
    assert "WORSE than bpf/kernels.json:\n  6.1: hook a.b: was tracepoint a:b, firing, is tracepoint a:b, silent" in (
        capsys.readouterr().out
    )


@pytest.fixture
def looks(committed):
    """Run 6.1 as often as requested, with these outcomes: the outcome that is kept, and the number of runs."""

    def looks(*outcomes):
        left = list(outcomes)

        class Fake:
            def run(self, series):
                return {name: left.pop(0) for name in series}

        return steady(Fake(), ["6.1"], committed)["6.1"], len(outcomes) - len(left)

    return looks


@pytest.mark.parametrize(
    ("seen", "taken", "times"), [((GOOD,), GOOD, 1), ((SILENT, GOOD), GOOD, 2), ((SILENT, SILENT), SILENT, 2)]
)
def test_a_regression_is_run_once_more(looks, seen, taken, times):
    """Only what is worse twice is a regression: a gate must not be a coin toss."""
    assert (taken, times) == looks(*seen)


def test_a_regression_that_is_not_repeated_is_reported(looks, capsys):
    """It may be an accident of the machine, or a race in a probe."""
    looks(SILENT, GOOD)

    assert (
        "NOT STEADY, in one of two runs:\n  6.1: hook a.b: was tracepoint a:b, firing, is tracepoint a:b, silent"
        in (capsys.readouterr().out)
    )


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"EBPF_SIDECAR_KERNELS": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/ebpf-sidecar/kernels"),
        ({}, str(Path.home() / ".cache/ebpf-sidecar/kernels")),
    ],
)
def test_kernels_are_kept_outside_the_tree(environment, folder):
    """All clones share them, and ``make clean`` spares them."""
    assert folder == str(cache_folder(environment))


def test_an_improvement_requests_an_update(committed, capsys):
    """It does not fail: a newer kernel may bring it from outside."""
    write_committed({"6.1": SILENT}, committed)

    assert 0 == settle({"6.1": GOOD}, update=False, path=committed)
    assert "run make kernel-matrix ARGS=--update" in capsys.readouterr().out


def test_without_differences_no_update_is_requested(committed, capsys):
    """Kernels that are not available neither fail nor request one; their rows say so."""
    gone = Outcome(problem="not available")

    assert 0 == settle({"6.1": GOOD, "5.10": gone}, update=False, path=committed)
    assert [GOOD.totals(), "not available"] == [
        line.split(maxsplit=2 - gone)[-1] for gone, line in enumerate(capsys.readouterr().out.splitlines())
    ]


def test_an_update_keeps_unavailable_kernels(committed):
    """A mirror that is down must not empty the table."""
    assert 0 == settle({"6.1": Outcome(problem="down"), RUNNING: SILENT}, update=True, path=committed)
    assert {"6.1": GOOD, RUNNING: SILENT} == read_committed(committed)


def test_another_machine_is_not_compared_with_the_one_of_the_table(committed):
    """Its kernel may lack what that one had."""
    other = Outcome("5.15.0-azure", "", {"a.b": HookOutcome("", None, "no")}, {}, answered=True)

    assert 0 == settle({RUNNING: other}, update=False, path=committed)


def test_a_run_removes_what_a_killed_one_left(monkeypatch, tmp_path, capsys):
    """A guest's disk is half a gigabyte. Nothing can be measured without rights, and that alone is no failure."""
    monkeypatch.setenv("EBPF_SIDECAR_KERNELS", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scratch-x/results").mkdir(parents=True)

    assert 0 == main(["--only", "running"])
    assert ["last", "lock"] == sorted(path.name for path in tmp_path.iterdir())
    assert "all reports and the guests' output" in capsys.readouterr().out
