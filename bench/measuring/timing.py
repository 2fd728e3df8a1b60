# SPDX-License-Identifier: Apache-2.0
"""How long something takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def clocked(work: Callable[[], Result]) -> tuple[float, Result]:
    """Milliseconds, and the result."""
    started = time.perf_counter()
    result = work()
    return (time.perf_counter() - started) * 1e3, result
