# SPDX-License-Identifier: Apache-2.0
"""Cases that a third party's probe brings: read from next to it, and every name in them is looked up."""

from pathlib import Path

import pytest

from ebpf_sidecar.pipeline.errors import ConfigError
from ebpf_sidecar.receivers.ebpf.probe.file import find_probes, read_probe
from ebpf_sidecar.receivers.ebpf.selftest.case_files import cases_of

ROOT = Path(__file__).parents[4]
FORKS = ROOT / "tests" / "plugin_example" / "sidecar_forks"
RIGHT = """
workloads: {starting: {does: children, script: starting.py, action: children, step: page}}
cases: [{metric: forks.children, workload: starting, oracle: known, fact: started}]
"""


@pytest.fixture
def probe_with(tmp_path):
    """The example's probe with other cases, as text, next to it."""
    for name in ("forks.c", "forks.yaml", "starting.py"):
        (tmp_path / name).write_bytes((FORKS / name).read_bytes())

    def probe_with(text):
        (tmp_path / "forks.selftest.yaml").write_text(text)
        return read_probe(tmp_path / "forks.yaml")

    return probe_with


def test_cases_beside_a_probe_are_added_to_ours(probe_with):
    """With the whole path of the script, which is not where ours are."""
    probe = probe_with(RIGHT)
    ours = read_probe(ROOT / "bpf" / "syscalls.yaml")
    file = cases_of([ours, probe])

    assert "forks.children" == file.cases[-1].metric
    assert {"ebpf.syscall.duration", "forks.children"} <= {case.metric for case in file.cases}
    assert str(probe.path.with_name("starting.py")) == file.workloads["starting"].script
    assert "calls.py" == file.workloads["synced"].script


def test_workloads_of_ours_may_be_used(probe_with):
    """A case need not have its own script."""
    file = cases_of([probe_with(RIGHT.replace("workload: starting", "workload: synced"))])

    assert "synced" == file.cases[0].workload


def test_a_file_of_cases_is_no_probe():
    """Though its name ends alike."""
    assert {"forks"} == set(find_probes([FORKS]))


@pytest.mark.parametrize(
    ("right", "wrong", "reported"),
    [
        ("oracle: known", "oracle: knwon", 'yaml:3:54: cases::0::oracle: unknown "knwon"; did you mean "known"?'),
        (", fact: started", "", 'cases::0: the oracle "known" needs a fact; name one of the numbers'),
        ("metric: forks.children", "metric: forks.child", 'unknown "forks.child"; did you mean "forks.children"?'),
        ("workload: starting", "workload: stating", '::0::workload: unknown "stating"; did you mean "starting"?'),
        ("fact: started", "fakt: started", 'cases::0: unknown setting "fakt"; did you mean "fact"?'),
        ("script: starting.py", "script: gone.py", 'script: there is no "gone.py"; put it next to this file'),
        ("workloads: {starting", "workloads: {synced", "another probe has a workload of this name; choose another"),
        ("fact: started}", "fact: started, attributes: {x: y}}", 'cases::0::attributes::x: unknown "x"'),
        ("cases: [", "cases: [[", "not YAML"),
        ("cases: [", "unchecked: [{metric: m, reason: r}]\ncases: [", 'unchecked::0::metric: unknown "m"'),
    ],
)
def test_a_mistake_is_refused_with_place_and_repair(probe_with, right, wrong, reported):
    """Before anything is loaded; the file is named."""
    probe = probe_with(RIGHT.replace(right, wrong))

    with pytest.raises(ConfigError, match=r"forks\.selftest\.yaml") as caught:
        cases_of([probe])

    assert reported in str(caught.value)


def test_all_mistakes_are_reported_at_once(probe_with):
    """One a line."""
    text = RIGHT.replace("oracle: known", "oracle: x").replace("metric: forks.children", "metric: y")

    with pytest.raises(ConfigError) as caught:
        cases_of([probe_with(text)])

    assert 2 == len(str(caught.value).splitlines())


def test_a_file_that_is_no_text_is_named(probe_with):
    """And not a traceback."""
    probe = probe_with("")
    probe.path.with_suffix(".selftest.yaml").write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigError, match=r"forks\.selftest\.yaml:1:1: not UTF-8: byte 0xff; save the file as UTF-8"):
        cases_of([probe])
