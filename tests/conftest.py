# SPDX-License-Identifier: Apache-2.0
"""What all tests share: golden files, and which of them run side by side."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.database import DirectoryBasedExampleDatabase
from turns import Turns

_EXAMPLES = Path(__file__).parents[1] / ".hypothesis" / "examples"
# another user may run the tests in a folder that is not theirs; and a deadline measures the machine's other work
_DATABASE = DirectoryBasedExampleDatabase(_EXAMPLES) if os.access(Path(__file__).parents[1], os.W_OK) else None
settings.register_profile("full length", database=_DATABASE, deadline=None, max_examples=100)
settings.register_profile("short", settings.get_profile("full length"), max_examples=40)
_TURNS = Turns(Path(__file__).parent, Path(__file__))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--update-golden`` and ``--full-length``."""
    parser.addoption("--update-golden", action="store_true", help="write golden files anew instead of comparing")
    parser.addoption(
        "--full-length",
        action="store_true",
        help="run soaks as long, self-tests as often, and laws with as many examples, as CI does",
    )


def pytest_configure(config: pytest.Config) -> None:
    """All processes of this run share what they compiled, and nothing with an earlier run; laws have their examples."""
    settings.load_profile("full length" if config.getoption("--full-length") else "short")
    if not hasattr(config, "workerinput"):
        folder = tempfile.TemporaryDirectory(prefix="ebpf-sidecar-programs-")
        os.environ["CACHE_DIRECTORY"] = folder.name
        config.add_cleanup(folder.cleanup)


def _alone(item: pytest.Item | None) -> bool:
    """Whether nothing may run beside a test: the kernel's measure, unless they say that others do not matter."""
    marks = {mark.name for mark in item.iter_markers()} if item else set()
    return "alone" in marks or ("kernel" in marks and "parallel" not in marks)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put those that run alone first, so that they hold up the others once; then the rest of the kernel's, which take
    longest, so that none of them is begun last. What CI alone repeats is skipped elsewhere.
    """
    left_out = pytest.mark.skip(reason="repeated by CI; here with --full-length")
    for item in items:
        if item.get_closest_marker("full_length") and not config.getoption("--full-length"):
            item.add_marker(left_out)
    items.sort(key=lambda item: (not _alone(item), item.get_closest_marker("kernel") is None))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Take turns with the other processes of this run; those that follow each other alone share one turn."""
    _TURNS.begin(alone=_alone(item))
    try:
        return (yield)
    finally:
        if not (_alone(item) and _alone(nextitem)):
            _TURNS.end()


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """Compares a text with a file that was reviewed, or writes the file with ``--update-golden``."""

    def compare(file: Path, actual: str) -> None:
        if request.config.getoption("--update-golden"):
            file.write_text(actual, encoding="utf-8")

        assert file.read_text(encoding="utf-8") == actual

    return compare


@pytest.fixture
def full_length(request: pytest.FixtureRequest) -> bool:
    """Whether soaks shall be as long as in CI."""
    return bool(request.config.getoption("--full-length"))
