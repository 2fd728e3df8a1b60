# SPDX-License-Identifier: Apache-2.0
"""The threads that empty a queue."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ebpf_sidecar.pipeline.clock import Deadline


class Consumers:
    """Threads that run the same function until it returns."""

    def __init__(self, name: str, run: Callable[[], None]) -> None:
        self._name, self._run = name, run
        self._threads: list[threading.Thread] = []

    def start(self, number: int) -> None:
        """Start that many."""
        for each in range(number):
            thread = threading.Thread(target=self._run, name=f"{self._name} {each}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def join(self, deadline: Deadline) -> None:
        """Wait for all of them until ``deadline``."""
        for thread in self._threads:
            thread.join(deadline.left())
