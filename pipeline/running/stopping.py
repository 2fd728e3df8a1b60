# SPDX-License-Identifier: Apache-2.0
"""Stops several parts concurrently, so that none can block the others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from ebpf_sidecar.pipeline.clock import Deadline

Stop = Callable[[], object]


def stop_together(parts: Mapping[str, Stop], deadline: Deadline) -> list[str]:
    """Stop all parts, each in its own thread, and wait until ``deadline``; returns the names of those still running.

    A part that fails is logged and counts as stopped.
    """
    threads = {name: threading.Thread(target=quietly, args=(name, stop), daemon=True) for name, stop in parts.items()}
    for name, thread in threads.items():
        thread.name = f"stopping {name}"
        thread.start()
    for thread in threads.values():
        thread.join(deadline.left())
    return [name for name, thread in threads.items() if thread.is_alive()]


class Retiring:
    """What ends in the background, each in a thread of its own."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []

    def add(self, end: Stop) -> None:
        """Begin to end something."""
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=quietly, args=("reload", end), name="retiring", daemon=True)
        self._threads.append(thread)
        thread.start()

    def wait(self, deadline: Deadline) -> None:
        """Wait until everything has ended."""
        for thread in self._threads:
            thread.join(deadline.left())


def quietly(name: str, stop: Stop) -> None:
    """Stop one part; its failure must not keep the others from being stopped."""
    try:
        stop()
    except (Exception, SystemExit):  # a plugin must not exit the process
        logging.getLogger(__name__).exception("%s: shutdown failed", name)
