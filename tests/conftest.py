# SPDX-License-Identifier: Apache-2.0
"""What all tests share: golden files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.database import DirectoryBasedExampleDatabase

_EXAMPLES = Path(__file__).parents[1] / ".hypothesis" / "examples"
# another user may run the tests in a folder that is not theirs; and a deadline measures the machine's other work
settings.register_profile(
    "shared",
    database=DirectoryBasedExampleDatabase(_EXAMPLES) if os.access(Path(__file__).parents[1], os.W_OK) else None,
    deadline=None,
)
settings.load_profile("shared")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--update-golden``: write golden files anew, to be reviewed like code."""
    parser.addoption("--update-golden", action="store_true", help="write golden files anew instead of comparing")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """Compares a text with a file that was reviewed, or writes the file with ``--update-golden``."""

    def compare(file: Path, actual: str) -> None:
        if request.config.getoption("--update-golden"):
            file.write_text(actual, encoding="utf-8")

        assert file.read_text(encoding="utf-8") == actual

    return compare
