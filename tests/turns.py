# SPDX-License-Identifier: Apache-2.0
"""Which tests run side by side: most do; some have the kernel, or the whole machine, to themselves.

Between the processes of pytest-xdist, and between several runs in the same tree, by locks that the kernel drops with
their holder.
"""

from __future__ import annotations

import os
from enum import Enum
from fcntl import LOCK_EX, LOCK_SH, LOCK_UN, flock
from pathlib import Path


class Turn(Enum):
    """What a test needs of the machine and of the kernel: to share it, to have it alone, or nothing."""

    ANY = LOCK_SH, LOCK_UN
    KERNEL = LOCK_SH, LOCK_SH
    KERNEL_ALONE = LOCK_SH, LOCK_EX
    ALONE = LOCK_EX, LOCK_UN
    """Who is alone on the machine is alone in the kernel, too."""


class FairLock:
    """A fair shared lock in two files: many may hold it together, or one alone."""

    def __init__(self, door: Path, room: Path) -> None:
        """Two existing files: reading them is enough, and nothing is left behind."""
        self._door, self._room = (os.open(path, os.O_RDONLY) for path in (door, room))

    def enter(self, lock: int) -> None:
        """Wait until all holders share it, or until there are none."""
        # whoever waits inside the door keeps others from overtaking for ever
        flock(self._door, lock)
        flock(self._room, lock)
        flock(self._door, LOCK_UN)

    def leave(self) -> None:
        """Let others have it alone."""
        flock(self._room, LOCK_UN)


class Turns:
    """The machine, and the kernel as a room inside it."""

    def __init__(self, machine: FairLock, kernel: FairLock) -> None:
        self._machine, self._kernel = machine, kernel
        self._now: Turn | None = None

    def start(self, turn: Turn) -> None:
        """Wait for the turn; return at once if it still lasts."""
        if self._now is turn:
            return
        self.end()
        for room, lock in zip((self._machine, self._kernel), turn.value, strict=True):
            room.enter(lock)
        self._now = turn

    def end(self) -> None:
        """Let others have their turn."""
        self._kernel.leave()
        self._machine.leave()
        self._now = None
