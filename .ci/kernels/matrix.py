# SPDX-License-Identifier: Apache-2.0
"""A command on the running kernel, then in a guest for each wanted one, two guests at a time."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .deadline import Deadline
from .guest import Ended, run_in_guest
from .images import SCRATCH, Image
from .outcome import Outcome
from .programs import Unavailable
from .report import outcome_of

RUNNING = "running"
GUESTS_AT_ONCE = 2
"""Guests have one processor each, and two of them fill what a small build machine has."""
_LONGEST_HERE = 60.0
_SHORTEST = 30.0
"""Seconds without which a guest need not be started: it would not even boot."""

Told = Callable[[str, str, float], None]
"""Hears a kernel's series, what goes on there, and the seconds since its begin."""


@dataclass(frozen=True)
class Matrix:
    """``image``: gets a kernel by its series, raises `Unavailable`. ``command``: run here, and in each guest with
    ``in_guest`` appended. ``folder``: has a folder ``last`` for what is printed.
    """

    image: Callable[[str], Image]
    folder: Path
    deadline: Deadline
    told: Told
    command: Sequence[str]
    in_guest: Sequence[str] = ()
    kind: str = ""
    """What the names of kept files begin with, and who is told about."""

    def run(self, series: Sequence[str]) -> Mapping[str, Outcome]:
        """Outcomes by series, in the order asked for; the running kernel before the others, which would disturb it."""
        found = {RUNNING: self._here()} if RUNNING in series else {}
        guests = [name for name in series if name != RUNNING]
        with ThreadPoolExecutor(GUESTS_AT_ONCE) as pool:
            found.update(zip(guests, pool.map(self._guest, guests), strict=True))
        return {name: found[name] for name in series}

    def _here(self) -> Outcome:
        release, began = os.uname().release, time.monotonic()
        if os.geteuid() != 0:
            return Outcome(release, "not root, so no eBPF")
        self.told(RUNNING, "running", 0)
        try:
            done = subprocess.run(  # noqa: S603 # our own words
                self.command, capture_output=True, text=True, check=False, timeout=self.deadline.left(_LONGEST_HERE)
            )
        except subprocess.TimeoutExpired:
            return Outcome(release, "the selftest was not over in time")
        self._keep(RUNNING, done.stdout, done.stderr)
        outcome = outcome_of(done.stdout, release, done.stderr)
        self.told(RUNNING, f"done: {outcome.totals()}", time.monotonic() - began)
        return outcome

    def _guest(self, series: str) -> Outcome:
        began = time.monotonic()

        def told(what: str) -> None:
            self.told(f"{self.kind}{series}", what, time.monotonic() - began)

        try:
            told("fetching")
            if self.deadline.left() < _SHORTEST:
                raise Unavailable("no time was left for it")
            image = self.image(series)
            with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=self.folder) as scratch:
                ended = run_in_guest(
                    image, [*self.command, *self.in_guest, *image.machine.arguments], Path(scratch), self.deadline, told
                )
        except Unavailable as reason:
            told(f"not to be had: {reason}")
            return Outcome(problem=str(reason))
        self._keep(series, ended.output, f"{ended.errors}{ended.console}")
        outcome = _outcome(image, ended)
        told(f"done: {outcome.totals()}")
        return outcome

    def _keep(self, series: str, printed: str, said: str) -> None:
        """For who wants to know more."""
        (self.folder / "last" / f"{self.kind}{series}.json").write_text(printed)
        (self.folder / "last" / f"{self.kind}{series}.log").write_text(said)


def _outcome(image: Image, ended: Ended) -> Outcome:
    if ended.code is not None:
        return outcome_of(ended.output, image.release, ended.errors)
    if not ended.in_time:
        return Outcome(image.release, f"the guest was not done after {ended.seconds:.0f} s")
    last = (ended.console.strip().splitlines() or ["it said nothing"])[-1]
    return Outcome(image.release, f"the guest died {'at work' if ended.running else 'while booting'}: {last}")
