# SPDX-License-Identifier: Apache-2.0
"""Actions in a thread of their own: a disk that hangs must not stop the readings."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from .canary_actions import Problems

_PATIENCE = 1.0  # actions take some milliseconds where nothing is wrong


@dataclass
class Hurry:
    """Does actions by ``act`` and waits for their end for ``patience`` seconds at most."""

    act: Callable[[Collection[str]], Problems]
    patience: float = _PATIENCE
    clock: Callable[[], float] = time.monotonic
    _thread: threading.Thread | None = None
    _since: float = 0.0
    _problems: Problems = field(default_factory=dict)

    @property
    def waiting(self) -> bool:
        """Whether actions are still under way."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def seconds(self) -> float:
        """How long ago the last actions began."""
        return self.clock() - self._since

    def do(self, wanted: Collection[str]) -> Problems:
        """As ``act``; what has not ended is a problem, and until it has, nothing new is begun."""
        if not self.waiting:
            self._begin(wanted)
        if self.waiting:
            return dict.fromkeys(wanted, f"it has not ended for {self.seconds:.0f} s")
        return self._problems

    def _begin(self, wanted: Collection[str]) -> None:
        self._since = self.clock()
        # a daemon, because the kernel does not let go who waits for a disk: we must be able to end without it
        self._thread = threading.Thread(target=self._run, args=(wanted,), name="canary", daemon=True)
        self._thread.start()
        self._thread.join(self.patience)

    def _run(self, wanted: Collection[str]) -> None:
        try:
            self._problems = self.act(wanted)
        except Exception as error:  # noqa: BLE001 # whatever went wrong, nothing is proved by it
            self._problems = dict.fromkeys(wanted, str(error))
