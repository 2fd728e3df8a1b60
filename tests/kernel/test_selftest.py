# SPDX-License-Identifier: Apache-2.0
"""``ebpf-sidecar selftest`` as a process on the running kernel."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mounts import WITH_TRACEFS, in_mounts, why_no_tracefs

DATA = Path(__file__).parents[1] / "data"
COMMAND = [sys.executable, "-c", "from ebpf_sidecar.pipeline.cli.main import main; main()", "selftest"]
QUICK = [*COMMAND, "--json", "--quick"]

pytestmark = pytest.mark.parallel


def answer(command, **more):
    """What it printed, as data, and its exit code."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=120, check=False, **more)
    return json.loads(done.stdout), done.returncode


def shape(value):
    """The types instead of the values; of a list its first element's."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def wrong(report):
    """The lines that are not right."""
    return [each for each in report["metrics"] if each["verdict"] == "wrong"]


def checked(report):
    """What was compared: metric, attributes, workload and oracle."""
    ok = (each for each in report["metrics"] if each["verdict"] == "ok")
    return [(each["metric"], each["attributes"], each["workload"], each["oracle"]) for each in ok]


@pytest.fixture(scope="module")
def report():
    """One full run: its report and how long it took."""
    started = time.monotonic()
    reported, code = answer([*COMMAND, "--json"])
    return reported, code, time.monotonic() - started


def test_everything_that_is_there_is_right_in_less_than_30_seconds(report):
    """Every metric of every probe is checked or has its reason."""
    reported, code, seconds = report

    assert [] == wrong(reported)
    assert (0, "") == (code, reported["error"])
    assert all(each["why"] for each in reported["metrics"] if each["verdict"] == "skipped")
    assert [] == [each["why"] for each in reported["metrics"] if "failed" in each["why"]]
    assert (30 if os.getloadavg()[0] <= os.cpu_count() else 90) > seconds  # others may keep the machine busy
    assert (60 if reported["file_system"] else 1) <= reported["totals"]["ok"]


def test_every_hook_that_can_be_triggered_fires(report):
    """The others say why not."""
    hooks = report[0]["hooks"]

    assert [] == [hook for hook in hooks if hook["live"] is False]
    assert all(hook["live_reason"] or hook["reason"] for hook in hooks if not hook["live"])
    assert all(hook["way"] for hook in hooks if hook["attached"])


def test_the_shape_is_stable(report, golden):
    """Programs read it; the names of maps differ from probe to probe."""
    reported = report[0]
    right = [each | {"attributes": {"name": ""}} for each in reported["metrics"] if each["verdict"] == "ok"]
    hooks = [each for each in reported["hooks"] if each["live"] is not None]
    described = shape(reported | {"dropped": {"reason": 0}, "metrics": right, "hooks": hooks})

    golden(DATA / "selftest_shape.json", json.dumps(described, indent=1, sort_keys=True) + "\n")


@pytest.mark.full_length
def test_in_a_pid_namespace_of_its_own_the_numbers_are_the_same():
    """As in a container: process ids there are not those that the kernel counts by."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    reported, code = answer(["unshare", "--pid", "--fork", "--mount-proc", *QUICK])

    assert (0, []) == (code, wrong(reported))
    assert 40 < reported["totals"]["ok"]


@pytest.mark.skipif(bool(why_no_tracefs()), reason=why_no_tracefs())
@pytest.mark.full_length
@pytest.mark.alone
def test_with_the_least_capabilities_all_numbers_are_checked():
    """Without CAP_SYS_ADMIN the kernel does not report how often programs ran: where no map does, hooks are unknown."""
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    as_root, _ = answer(QUICK)
    least = ["setpriv", "--bounding-set=-all,+bpf,+perfmon", "--inh-caps=-all"]
    reported, code = answer(in_mounts(WITH_TRACEFS, [*least, *QUICK]))
    renames = [hook for hook in reported["hooks"] if hook["hook"] == "name_change"]

    assert (0, []) == (code, wrong(reported))
    assert checked(as_root) == checked(reported)
    assert renames
    # it is reported if another process on the machine enables run statistics meanwhile
    assert all(hook["live"] or "CAP_SYS_ADMIN missing" in hook["live_reason"] for hook in renames)
    assert [] == [hook for hook in reported["hooks"] if hook["live"] is False]


def test_without_rights_the_loader_names_what_is_missing():
    """For people one line, for programs the same in JSON; the exit code is 1."""
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    powerless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    people = subprocess.run([*powerless, *COMMAND], capture_output=True, text=True, timeout=60, check=False)
    reported, code = answer([*powerless, *QUICK])

    assert (1, 1, "") == (people.returncode, code, people.stdout)
    assert "CAP_BPF and CAP_PERFMON missing; run as root or grant it" in people.stderr
    assert people.stderr.strip() == reported["error"]


@pytest.mark.full_length
def test_where_there_is_no_disk_the_rest_is_checked():
    """Cold reads mean nothing in tmpfs; system calls do."""
    reported, code = answer([*QUICK, "--folder", "/dev/shm"])
    kinds = {metric.rpartition(".")[0] for metric, *_ in checked(reported)}

    assert (0, []) == (code, wrong(reported))
    assert {"ebpf", "ebpf.syscall", "ebpf.fadvise", "ebpf.cache", "ebpf.page_cache"} == kinds
    assert any("/dev/shm is not on a disk" in each["why"] for each in reported["metrics"])
    assert not list(Path("/dev/shm").glob("ebpf-sidecar-*"))
