# SPDX-License-Identifier: Apache-2.0
"""Cases that come with a probe: ``<probe>.selftest.yaml`` next to its YAML, and scripts next to that.

They may come from a third party, so every name in them is looked up before anything runs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from ebpf_sidecar.pipeline.config.sources import source_text
from ebpf_sidecar.pipeline.config.validation import Marks, mistake, validated
from ebpf_sidecar.pipeline.config.yaml_document import Document, Location, parse
from ebpf_sidecar.pipeline.errors import ConfigError, Mistake
from ebpf_sidecar.pipeline.suggestions import did_you_mean
from ebpf_sidecar.receivers.ebpf.probe.model import Metric, Probe, Spread

from .case import Case, CaseFile, Workload, read_cases
from .oracles import ORACLES
from .worker import SCRIPTS

_SUFFIX = ".selftest.yaml"


def cases_of(probes: Sequence[Probe]) -> CaseFile:
    """The cases of ``probes``: those that come with the product, and those next to a probe.

    Raises `ConfigError` with every mistake in the latter.
    """
    whole = read_cases(probe.name for probe in probes if not _beside(probe).exists())
    mistakes: list[Mistake] = []
    for probe in probes:
        if _beside(probe).exists():
            file, wrong = _read(probe, whole.workloads)
            mistakes += wrong
            whole = _joined(whole, file)
    if mistakes:
        raise ConfigError(mistakes)
    return whole


def _beside(probe: Probe) -> Path:
    return probe.path.with_suffix(_SUFFIX)


def _joined(whole: CaseFile, file: CaseFile) -> CaseFile:
    return CaseFile(
        workloads={**whole.workloads, **file.workloads},
        cases=(*whole.cases, *file.cases),
        unchecked=(*whole.unchecked, *file.unchecked),
    )


def _read(probe: Probe, others: Mapping[str, Workload]) -> tuple[CaseFile, list[Mistake]]:
    path = _beside(probe)
    try:
        document = parse(source_text(path), str(path))
    except ConfigError as error:
        return CaseFile(), list(error.mistakes)
    file, mistakes = validated(CaseFile, document.value, (), document.marks)
    if file is None or mistakes:
        return CaseFile(), mistakes
    return _placed(file, path.parent), list(_wrong(file, probe, others, document))


def _placed(file: CaseFile, folder: Path) -> CaseFile:
    """With the full path of each script in ``folder``; the others come with the product."""
    workloads = {
        name: each.model_copy(update={"script": str(folder / each.script)}) if (folder / each.script).exists() else each
        for name, each in file.workloads.items()
    }
    return file.model_copy(update={"workloads": workloads})


def _wrong(file: CaseFile, probe: Probe, others: Mapping[str, Workload], document: Document) -> Iterator[Mistake]:
    """The names in the file that do not exist."""
    marks = document.marks
    for name, workload in file.workloads.items():
        at = ("workloads", name)
        if name in others:
            yield mistake(at, "another probe has a workload of this name; choose another", marks)
        if not any((folder / workload.script).exists() for folder in (probe.path.parent, SCRIPTS)):
            yield mistake((*at, "script"), f'there is no "{workload.script}"; put it next to this file', marks)
    metrics = {metric.name: metric for metric in probe.metrics}
    for i, unchecked in enumerate(file.unchecked):
        yield from _unknown(("unchecked", i, "metric"), unchecked.metric, metrics, marks)
    for i, case in enumerate(file.cases):
        yield from _wrong_case(("cases", i), case, metrics, marks)
        yield from _unknown(("cases", i, "workload"), case.workload, [*file.workloads, *others], marks)


def _wrong_case(at: Location, case: Case, metrics: Mapping[str, Metric], marks: Marks) -> Iterator[Mistake]:
    yield from _unknown((*at, "metric"), case.metric, metrics, marks)
    yield from _unknown((*at, "oracle"), case.oracle, ORACLES, marks)
    if case.oracle == "known" and not case.fact:
        yield mistake(at, 'the oracle "known" needs a fact; name one of the numbers that the workload reports', marks)
    if case.metric in metrics:
        known = _attributes(metrics[case.metric])
        for name in case.attributes:
            yield from _unknown((*at, "attributes", name), name, known, marks)


def _attributes(metric: Metric) -> list[str]:
    spread = [metric.value.attribute] if isinstance(metric.value, Spread) else []
    return [*(attribute.name for attribute in metric.attributes), *spread]


def _unknown(at: Location, word: str, known: Collection[str], marks: Marks) -> Iterator[Mistake]:
    if word not in known:
        yield mistake(at, f'unknown "{word}"{did_you_mean(word, known)}', marks)
