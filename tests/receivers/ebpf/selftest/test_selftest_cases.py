# SPDX-License-Identifier: Apache-2.0
"""The cases as data: nothing that a probe counts is left unchecked without a reason, and all that they name exists."""

import ast
from pathlib import Path

import pytest
from pydantic import ValidationError

from ebpf_sidecar.receivers.ebpf.probe.file import find_probes, read_probe
from ebpf_sidecar.receivers.ebpf.probe.model import NO_ACTION, Slots, Spread
from ebpf_sidecar.receivers.ebpf.selftest.case import FOLDER, CaseFile, read_cases
from ebpf_sidecar.receivers.ebpf.selftest.oracles import ORACLES
from ebpf_sidecar.receivers.ebpf.selftest.worker import SCRIPTS

BPF = Path(__file__).parents[4] / "bpf"
PROBES = {name: read_probe(path) for name, path in find_probes([BPF]).items()}
ALL = read_cases(PROBES)
CASES = [pytest.param(case, id=f"{case.metric}-{case.workload}-{i}") for i, case in enumerate(ALL.cases)]
METRICS = {metric.name: metric for probe in PROBES.values() for metric in probe.metrics}


def facts_of(script):
    """All words that could be the name of a number, as they stand in a script."""
    tree = ast.parse((SCRIPTS / script).read_text())
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def functions_of(script):
    """The actions of a script."""
    return {node.name for node in ast.parse((SCRIPTS / script).read_text()).body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("name", PROBES)
def test_every_metric_of_a_probe_has_a_case_or_a_reason(name):
    """A new metric without either must not pass review unseen."""
    file = read_cases([name])
    named = {case.metric for case in file.cases} | {each.metric for each in file.unchecked}

    assert {metric.name for metric in PROBES[name].metrics} == named


def test_there_are_no_cases_for_probes_that_do_not_exist():
    """A renamed probe takes its cases along."""
    assert {path.stem for path in FOLDER.glob("*.yaml")} <= set(PROBES)


@pytest.mark.parametrize("case", CASES)
def test_what_a_case_names_exists(case):
    """Workload, oracle, fact, and the attributes that choose rows."""
    metric, workload = METRICS[case.metric], ALL.workloads[case.workload]
    attributes = {attribute.name for attribute in metric.attributes}
    attributes |= {metric.value.attribute} if isinstance(metric.value, Spread) else set()

    assert case.oracle in ORACLES
    assert set(case.attributes) <= attributes
    assert (case.oracle == "known") == bool(case.fact)
    assert case.fact in {"", "none"} | facts_of(workload.script)
    assert case.value == "count" or isinstance(metric.value, Slots)


@pytest.mark.parametrize("workload", ALL.workloads.values(), ids=list(ALL.workloads))
def test_what_a_workload_names_exists(workload):
    """The script and its action; the text fits into a line of progress."""
    assert workload.action in functions_of(workload.script)
    assert len(workload.does) <= 60


def test_every_workload_is_used():
    """What nothing uses takes time for nothing."""
    assert set(ALL.workloads) == {case.workload for case in ALL.cases}


@pytest.mark.parametrize("probe", PROBES.values(), ids=list(PROBES))
def test_every_hook_declares_how_to_see_that_it_fires(probe):
    """Or why nothing may trigger it."""
    assert [] == [hook.name for hook in probe.hooks if hook.canary is None]
    assert all(hook.canary.reason for hook in probe.hooks if hook.canary.action == NO_ACTION)


def test_only_the_wanted_probes_cases_are_read():
    """But workloads of all, because cases share them."""
    file = read_cases(["syscalls"])

    assert {"ebpf.syscall", "ebpf.fadvise"} == {case.metric.rpartition(".")[0] for case in file.cases}
    assert "threads" in file.workloads


def test_a_mistake_in_a_case_is_refused():
    """A misspelt key would silently check less."""
    with pytest.raises(ValidationError, match="tolerence"):
        CaseFile.model_validate({"cases": [{"metric": "m", "workload": "w", "oracle": "known", "tolerence": 1}]})
