# SPDX-License-Identifier: Apache-2.0
"""Where a receiver's batches go: replaced between two batches, so that each goes one way, whole and once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from ebpf_sidecar.pipeline.clock import Deadline

Target = TypeVar("Target")


@dataclass(eq=False, slots=True)
class _Way(Generic[Target]):
    target: Target
    batches: int = 0
    """How many are on this way now."""


class Switch(Generic[Target]):
    """Leads to ``target``. Thread-safe; ``held``: batches wait until `release`."""

    def __init__(self, target: Target, *, held: bool = False) -> None:
        self._way, self._held = _Way(target), held
        self._former: list[_Way[Target]] = []
        self._changed = threading.Condition()

    @property
    def target(self) -> Target:
        """Where the next batch goes."""
        return self._way.target

    @property
    def held(self) -> bool:
        """Whether batches wait."""
        return self._held

    @contextmanager
    def way(self) -> Iterator[Target]:
        """Where one batch goes, whatever is connected meanwhile."""
        with self._changed:
            while self._held:
                self._changed.wait()
            way = self._way
            way.batches += 1
        try:
            yield way.target
        finally:
            with self._changed:
                way.batches -= 1
                self._changed.notify_all()

    def connect(self, target: Target) -> None:
        """Lead to ``target`` from the next batch on; the current one continues on its way."""
        with self._changed:
            self._former = [way for way in (*self._former, self._way) if way.batches]
            self._way = _Way(target)

    def hold(self) -> None:
        """Let batches wait that have not begun."""
        with self._changed:
            self._held = True

    def release(self) -> None:
        """Let them go on."""
        with self._changed:
            self._held = False
            self._changed.notify_all()

    def until_left(self, deadline: Deadline) -> bool:
        """Wait for batches on former ways, and for all if batches are held. Returns whether they have ended."""
        with self._changed:
            return self._changed.wait_for(self._left, deadline.left())

    def _left(self) -> bool:
        return not any(way.batches for way in (*self._former, *([self._way] if self._held else [])))
