# SPDX-License-Identifier: Apache-2.0
"""The cases as data: nothing that a probe counts is left unchecked without a reason, and all that they name exists."""

import ast
from functools import cache
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
METRICS = {metric.name: metric for probe in PROBES.values() for metric in probe.metrics}


@cache
def facts_of(script):
    """All words that could be the name of a number, as they stand in a script."""
    tree = ast.parse((SCRIPTS / script).read_text())
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@cache
def functions_of(script):
    """The actions of a script."""
    return {node.name for node in ast.parse((SCRIPTS / script).read_text()).body if isinstance(node, ast.FunctionDef)}


def test_every_metric_of_a_probe_has_a_case_or_a_reason():
    """A new metric without either must not pass review unseen."""
    metrics = {name: {metric.name for metric in probe.metrics} for name, probe in PROBES.items()}

    assert metrics == {name: checked_or_excused(read_cases([name])) for name in PROBES}


def checked_or_excused(file):
    """The metrics that a file of cases names."""
    return {case.metric for case in file.cases} | {each.metric for each in file.unchecked}


def test_there_are_no_cases_for_probes_that_do_not_exist():
    """A renamed probe takes its cases along."""
    assert {path.stem for path in FOLDER.glob("*.yaml")} <= set(PROBES)


def test_what_a_case_names_exists():
    """Workload, oracle, fact, and the attributes that choose rows."""
    wrong = [(case.metric, case.workload, what) for case in ALL.cases for what in wrong_names(case)]

    assert 100 < len(ALL.cases)
    assert [] == wrong


def wrong_names(case):
    """What a case names that does not exist or does not fit."""
    metric, script = METRICS[case.metric], ALL.workloads[case.workload].script
    attributes = {attribute.name for attribute in metric.attributes}
    attributes |= {metric.value.attribute} if isinstance(metric.value, Spread) else set()
    right = {
        f"oracle {case.oracle}": case.oracle in ORACLES,
        f"attributes {set(case.attributes) - attributes}": set(case.attributes) <= attributes,
        "a fact is for the oracle known": (case.oracle == "known") == bool(case.fact),
        f"fact {case.fact} of {script}": case.fact in {"", "none"} | facts_of(script),
        f"value {case.value}": case.value == "count" or isinstance(metric.value, Slots),
    }
    return [what for what, holds in right.items() if not holds]


def test_what_a_workload_names_exists():
    """The script and its action; the text fits into a line of progress."""
    workloads = ALL.workloads.items()

    assert [] == [(name, each.action) for name, each in workloads if each.action not in functions_of(each.script)]
    assert [] == [(name, each.does) for name, each in workloads if len(each.does) > 60]


def test_every_workload_is_used():
    """What nothing uses takes time for nothing."""
    assert set(ALL.workloads) == {case.workload for case in ALL.cases}


def test_every_hook_declares_how_to_see_that_it_fires():
    """Or why nothing may trigger it."""
    hooks = [(name, hook.name, hook.canary) for name, probe in PROBES.items() for hook in probe.hooks]

    assert [] == [(probe, hook) for probe, hook, canary in hooks if canary is None]
    assert [] == [(probe, hook) for probe, hook, canary in hooks if canary.action == NO_ACTION and not canary.reason]


def test_only_the_wanted_probes_cases_are_read():
    """But workloads of all, because cases share them."""
    file = read_cases(["syscalls"])

    assert {"ebpf.syscall", "ebpf.fadvise"} == {case.metric.rpartition(".")[0] for case in file.cases}
    assert "threads" in file.workloads


def test_a_mistake_in_a_case_is_refused():
    """A misspelt key would silently check less."""
    with pytest.raises(ValidationError, match="tolerence"):
        CaseFile.model_validate({"cases": [{"metric": "m", "workload": "w", "oracle": "known", "tolerence": 1}]})
