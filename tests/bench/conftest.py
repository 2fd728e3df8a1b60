# SPDX-License-Identifier: Apache-2.0
"""The benchmarks are programs: imported by path, with what they share beside them."""

import importlib
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def bench(monkeypatch):
    """Import a benchmark; afterwards its short name is free again."""
    monkeypatch.syspath_prepend(BENCH)
    before = set(sys.modules)

    yield importlib.import_module

    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(BENCH):
            del sys.modules[name]
