# SPDX-License-Identifier: Apache-2.0
"""What all tests share: golden files, what was compiled, and which of them run side by side."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.database import DirectoryBasedExampleDatabase
from turns import FairLock, Turn, Turns
from xdist.scheduler import LoadFileScheduling

_EXAMPLES = Path(__file__).parents[1] / ".hypothesis" / "examples"
# another user may run the tests in a folder that is not theirs; and a deadline measures the machine's other work
_DATABASE = DirectoryBasedExampleDatabase(_EXAMPLES) if os.access(Path(__file__).parents[1], os.W_OK) else None
settings.register_profile("full length", database=_DATABASE, deadline=None, max_examples=100)
settings.register_profile("short", settings.get_profile("full length"), max_examples=40)
_LIST = "TESTS_ALONE"
"""The variable with the name of the file in which processes that collect tests tell the one that gives them out which
are alone: pytest-xdist hands over names only.
"""
_HERE = Path(__file__).parent
_APART = {Turn.ALONE, Turn.KERNEL_ALONE}
_TURNS = Turns(machine=FairLock(_HERE, Path(__file__)), kernel=FairLock(_HERE / "kernel", _HERE / "kernel/conftest.py"))
_COMPILED = _HERE.parent / ".cache/programs"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--update-golden`` and ``--full-length``."""
    parser.addoption("--update-golden", action="store_true", help="write golden files anew instead of comparing")
    parser.addoption(
        "--full-length",
        action="store_true",
        help="run soaks as long, self-tests as often, and laws with as many examples, as CI does",
    )


def pytest_configure(config: pytest.Config) -> None:
    """All processes of this run share what they compiled, with later runs as well; laws have their examples."""
    settings.load_profile("full length" if config.getoption("--full-length") else "short")
    if not hasattr(config, "workerinput"):
        folder = tempfile.TemporaryDirectory(prefix="ebpf-sidecar-programs-")
        os.environ["CACHE_DIRECTORY"] = str(_COMPILED) if os.access(_HERE.parent, os.W_OK) else folder.name
        os.environ[_LIST] = str(Path(folder.name, "alone"))
        config.add_cleanup(folder.cleanup)


def _turn(item: pytest.Item) -> Turn:
    """What a test declares that it needs; a kernel test that declares nothing measures, so it runs alone."""
    marks = {mark.name for mark in item.iter_markers()}
    if "alone" in marks:
        return Turn.ALONE
    if "kernel_alone" in marks:
        return Turn.KERNEL_ALONE
    if "kernel" not in marks:
        return Turn.ANY
    return Turn.KERNEL if "parallel" in marks else Turn.ALONE


def _rank(item: pytest.Item) -> int:
    """Those that hold up others come first, beside them those that may; the kernel's next, since they take longest, so
    that none of them is begun last.
    """
    turn = _turn(item)
    if turn is Turn.ANY:
        return 2 if _HERE / "pipeline" in item.path.parents else 4
    return (Turn.ALONE, Turn.KERNEL_ALONE, None, Turn.KERNEL).index(turn)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips what only CI repeats; after the folders' own hooks have marked kernel tests."""
    left_out = pytest.mark.skip(reason="repeated by CI; here with --full-length")
    for item in items:
        if item.get_closest_marker("full_length") and not config.getoption("--full-length"):
            item.add_marker(left_out)
    items.sort(key=_rank)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Mark tests that run alone, before pytest-xdist reports the collection."""
    alone = [item.nodeid for item in session.items if _turn(item) in _APART]
    Path(os.environ[_LIST]).write_text("\n".join(alone), encoding="utf-8")


class _Scheduling(LoadFileScheduling):
    """File by file, but for the tests that are alone: one process has them all, so that others need not wait."""

    @cached_property
    def _alone(self) -> set[str]:
        return {*Path(os.environ[_LIST]).read_text(encoding="utf-8").splitlines()}

    def _split_scope(self, nodeid: str) -> str:
        return "alone" if nodeid in self._alone else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """Assign test files to processes."""
    return _Scheduling(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Take turns with the other processes of this run; those that follow each other alone share one turn."""
    turn = _turn(item)
    _TURNS.start(turn)
    try:
        return (yield)
    finally:
        if not (turn in _APART and nextitem and _turn(nextitem) is turn):
            _TURNS.end()


@pytest.fixture
def goldens(request: pytest.FixtureRequest) -> Callable[[Mapping[Path, str]], None]:
    """Compares texts with files that were reviewed, all at once, or writes the files with ``--update-golden``."""

    def compare(actual: Mapping[Path, str]) -> None:
        if request.config.getoption("--update-golden"):
            for file, text in actual.items():
                file.write_text(text, encoding="utf-8")
        reviewed = {file: file.read_text(encoding="utf-8") if file.exists() else None for file in actual}
        changed = [file for file, text in actual.items() if reviewed[file] != text]

        assert {file.name: reviewed[file] for file in changed} == {file.name: actual[file] for file in changed}

    return compare


@pytest.fixture
def golden(goldens: Callable[[Mapping[Path, str]], None]) -> Callable[[Path, str], None]:
    """The same for a single text."""
    return lambda file, actual: goldens({file: actual})


@pytest.fixture
def full_length(request: pytest.FixtureRequest) -> bool:
    """Whether soak tests run as long as in CI."""
    return bool(request.config.getoption("--full-length"))
