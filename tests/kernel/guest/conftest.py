# SPDX-License-Identifier: Apache-2.0
"""Tests that bring a machine to its knees, and a few of its ways that differ from kernel to kernel.

For guests of `make kernel-matrix` alone; they go into its table.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ebpf_sidecar.receivers.ebpf.loading.build_request import request_for
from ebpf_sidecar.receivers.ebpf.loading.parent import load
from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import find_hierarchy
from ebpf_sidecar.receivers.ebpf.probe.file import read_probe

PROOFS = "EBPF_SIDECAR_PROOFS"
"""Where the guest wants to find what the tests have proven; set nowhere else."""
BPF = Path(__file__).parents[3] / "bpf"
VERDICTS = {"passed": "ok", "failed": "wrong", "skipped": "skipped"}


def pytest_configure(config):
    """What a test is a proof of."""
    config.addinivalue_line("markers", "proves(*metrics, oracle): these metrics equal what the oracle says")
    config.stash[PROOFS] = []


def pytest_collection_modifyitems(items):
    """Skip them outside a guest."""
    if PROOFS not in os.environ:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="only a guest's memory may be used up: make kernel-matrix"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Keep the verdict, as the selftest would write it."""
    report = yield
    if report.when == "call" or report.outcome != "passed":
        why = "" if report.passed else str(call.excinfo.value if call.excinfo else report.longrepr)
        item.config.stash[PROOFS] += [
            {"metric": metric, "workload": item.name, "oracle": proof.kwargs["oracle"], "why": why}
            | {"verdict": VERDICTS[report.outcome]}
            for proof in item.iter_markers("proves")
            for metric in proof.args
        ]
    return report


def pytest_sessionfinish(session):
    """Hand over what was proven, in the shape of a selftest's report; what was tried before and again is reported
    again."""
    if PROOFS in os.environ:
        path = Path(os.environ[PROOFS])
        before = json.loads(path.read_text())["metrics"] if path.exists() else []
        metrics = {which(each): each for each in before + session.config.stash[PROOFS]}
        report = {"kernel": os.uname().release, "error": "", "hooks": [], "metrics": list(metrics.values())}
        path.write_text(json.dumps(report))


def which(result):
    """What distinguishes it from others."""
    return result["metric"], result["workload"], result["oracle"]


@pytest.fixture(scope="session")
def load_once():
    """Load probes once for all tests: compiling takes a quarter of a minute in a guest."""
    opened = {}

    def load_once(*names):
        if names not in opened:
            probes = [read_probe(BPF / f"{name}.yaml") for name in names]
            hierarchy = find_hierarchy(Path("/sys/fs/cgroup")).controller
            request = request_for(probes, by_process=True, cgroup_hierarchy=hierarchy)
            opened[names] = load(probes, request, timeout=240)
        return opened[names]

    yield load_once
    for loaded in opened.values():
        loaded.close()


@pytest.fixture(scope="session")
def hunger():
    """Start programs that use up memory, and end them once all of them have: their exit codes and ids."""
    Path("/proc/self/oom_score_adj").write_text("-1000")
    script = Path(__file__).parents[1] / "workloads" / "hunger.py"

    def hunger(*calls):
        commands = [[sys.executable, "-S", "-E", script, *map(str, words)] for words in calls]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        running = [subprocess.Popen(command, **pipes) for command in commands]
        for each in running:
            each.stdout.readline()
        for each in running:
            each.communicate(timeout=120)
        return [(each.returncode, each.pid) for each in running]

    return hunger


@pytest.fixture(scope="session")
def vmstat():
    """The kernel's counters of the whole machine, once its background work has come to rest."""
    path = Path("/proc/vmstat")
    names = ("pgscan", "pgsteal", "allocstall", "compact_stall", "oom_kill")

    def read():
        fields = dict(map(str.split, path.read_text().splitlines()))
        return {name: int(value) for name, value in fields.items() if name.startswith(names)}

    def vmstat():
        before, until = read(), time.monotonic() + 30
        while time.monotonic() < until:
            time.sleep(0.3)
            now = read()
            if now == before:
                break
            before = now
        return before

    return vmstat
