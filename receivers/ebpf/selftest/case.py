# SPDX-License-Identifier: Apache-2.0
"""What is checked, as immutable data, read from ``cases/<probe>.yaml``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import yaml

from ebpf_sidecar.pipeline.settings import Settings

FOLDER = Path(__file__).parent / "cases"


class Workload(Settings):
    """Something that is done in a separate process."""

    does: str
    """For people: shown while it runs."""
    script: str
    """The file in ``workloads/``."""
    action: str
    """The script's first argument."""
    step: int | Literal["page"]
    """Bytes of one call; ``page``: the system's page size."""
    file: Literal["data", "copy", "new"] = "data"
    """``data``: the file that all share; ``copy``: one that may be removed; ``new``: one that does not exist yet."""
    cache: Literal["cold", "warm", "as_is"] = "as_is"
    """Whether the file is in the page cache before."""
    disk: bool = False
    """Whether it is meaningless in a folder that is not on a disk."""


class Case(Settings):
    """One number that is known from two sources: the probe and an oracle."""

    metric: str
    workload: str
    oracle: str
    """A name in ``oracles.ORACLES``."""
    fact: str = ""
    """For the oracle ``known``: which of the numbers that the workload reports; ``none`` is 0."""
    attributes: Mapping[str, str] = {}
    """Which rows of the metric count, in addition to ``whose``."""
    value: Literal["count", "sum"] = "count"
    """For a histogram: the number of observations, or their sum."""
    whose: Literal["workload", "machine"] = "workload"
    """Rows of the workload's processes, or of all processes on the disks of this machine."""
    exact: bool = False
    """Whether the values must be equal."""
    share: float = 0.005
    """Otherwise: the tolerance as a share of the expected value …"""
    slack: float = 4
    """… or in the metric's unit, whichever is more. Four pages: another process may look at the same file once."""
    at_most: bool = False
    """Whether the expected value is only an upper limit, and 0 is wrong."""
    needs: tuple[Literal["own_requests", "scheduler", "types"], ...] = ()
    """What the machine must have for it, see `workspace.Workspace`; ``types``: the kernel has BTF."""


class Unchecked(Settings):
    """A metric that cannot be checked on every machine."""

    metric: str
    reason: str


class CaseFile(Settings):
    """One file of cases."""

    workloads: Mapping[str, Workload] = {}
    cases: tuple[Case, ...] = ()
    unchecked: tuple[Unchecked, ...] = ()


def read_cases(probes: Iterable[str], folder: Path = FOLDER) -> CaseFile:
    """The cases of ``probes``, with all workloads, because cases may use those of other probes' files."""
    files = {path.stem: _read(path) for path in sorted(folder.glob("*.yaml"))}
    chosen = [files[probe] for probe in probes if probe in files]
    return CaseFile(
        workloads={name: workload for file in files.values() for name, workload in file.workloads.items()},
        cases=tuple(case for file in chosen for case in file.cases),
        unchecked=tuple(each for file in chosen for each in file.unchecked),
    )


def used(file: CaseFile) -> Sequence[str]:
    """The names of the workloads that some case needs, in the order of the files."""
    needed = {case.workload for case in file.cases}
    return [name for name in file.workloads if name in needed]


def _read(path: Path) -> CaseFile:
    return CaseFile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
