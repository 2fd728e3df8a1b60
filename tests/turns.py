# SPDX-License-Identifier: Apache-2.0
"""Tests take turns: most run side by side; one that is marked ``alone`` runs while no other does.

Between the processes of pytest-xdist, and between several runs in the same tree, by locks that the kernel drops with
their holder.
"""

from __future__ import annotations

import os
from fcntl import LOCK_EX, LOCK_SH, LOCK_UN, flock
from pathlib import Path


class Turns:
    """The machine as a room behind a door: many may be inside together, or one alone."""

    def __init__(self, door: Path, room: Path) -> None:
        """Two files or folders that are there anyway: reading them is enough, and nothing is left behind."""
        self._door, self._room = (os.open(path, os.O_RDONLY) for path in (door, room))
        self._inside: int | None = None

    def begin(self, *, alone: bool) -> None:
        """Wait for the turn; at once where it still lasts."""
        kind = LOCK_EX if alone else LOCK_SH
        if self._inside == kind:
            return
        self.end()
        # whoever waits inside of the door keeps others from coming first for ever
        flock(self._door, kind)
        flock(self._room, kind)
        flock(self._door, LOCK_UN)
        self._inside = kind

    def end(self) -> None:
        """Let others have their turn."""
        flock(self._room, LOCK_UN)
        self._inside = None
