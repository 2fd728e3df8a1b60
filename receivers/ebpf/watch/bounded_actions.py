# SPDX-License-Identifier: Apache-2.0
"""Runs actions in a separate thread, since a hanging disk must not stop the readings."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from .canary_actions import Problems

_TIMEOUT = 1.0  # actions normally take some milliseconds


@dataclass
class BoundedActions:
    """Runs actions with ``act`` and waits at most ``timeout`` seconds for them to finish."""

    act: Callable[[Collection[str]], Problems]
    timeout: float = _TIMEOUT
    clock: Callable[[], float] = time.monotonic
    _thread: threading.Thread | None = None
    _since: float = 0.0
    _problems: Problems = field(default_factory=dict)

    @property
    def waiting(self) -> bool:
        """Whether actions are still running."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def seconds(self) -> float:
        """How long ago the last actions started."""
        return self.clock() - self._since

    def do(self, wanted: Collection[str]) -> Problems:
        """Like ``act``; unfinished actions are a problem, and no new ones are started until they finish."""
        if not self.waiting:
            self._start(wanted)
        if self.waiting:
            return dict.fromkeys(wanted, f"it has not finished for {self.seconds:.0f} s")
        return self._problems

    def _start(self, wanted: Collection[str]) -> None:
        self._since = self.clock()
        # a daemon, because a thread that waits for a disk cannot be interrupted: we must be able to exit without it
        self._thread = threading.Thread(target=self._run, args=(wanted,), name="canary", daemon=True)
        self._thread.start()
        self._thread.join(self.timeout)

    def _run(self, wanted: Collection[str]) -> None:
        try:
            self._problems = self.act(wanted)
        except Exception as error:  # noqa: BLE001 # whatever went wrong, it proves nothing
            self._problems = dict.fromkeys(wanted, str(error))
