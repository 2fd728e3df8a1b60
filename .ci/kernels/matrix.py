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
from .guest import GuestResult, run_in_guest
from .images import SCRATCH, Image
from .outcome import Outcome
from .programs import Unavailable
from .report import outcome_of

RUNNING = "running"
GUESTS_AT_ONCE = 2
"""Guests have one CPU each, and two of them fill a small build machine."""
_LONGEST_HERE = 60.0
_SHORTEST = 30.0
"""With less than this many seconds left a guest is not started: it would not even boot."""

OnProgress = Callable[[str, str, float], None]
"""Called with a kernel's series, its state, and the seconds since its start."""


@dataclass(frozen=True)
class Matrix:
    """``image``: gets a kernel by its series, raises `Unavailable`. ``command``: run here, and in each guest with
    ``in_guest`` appended. ``folder``: has a folder ``last`` for what is printed.
    """

    image: Callable[[str], Image]
    folder: Path
    deadline: Deadline
    reports: OnProgress
    command: Sequence[str]
    in_guest: Sequence[str] = ()
    kind: str = ""
    """The prefix of the names of kept files and of reported series."""

    def run(self, series: Sequence[str]) -> Mapping[str, Outcome]:
        """Outcomes by series, in the requested order; the running kernel before the others, which would disturb it."""
        found = {RUNNING: self._here()} if RUNNING in series else {}
        guests = [name for name in series if name != RUNNING]
        with ThreadPoolExecutor(GUESTS_AT_ONCE) as pool:
            found.update(zip(guests, pool.map(self._guest, guests), strict=True))
        return {name: found[name] for name in series}

    def _here(self) -> Outcome:
        release, started = os.uname().release, time.monotonic()
        if os.geteuid() != 0:
            return Outcome(release, "not root, so no eBPF")
        self.reports(RUNNING, "running", 0)
        try:
            done = subprocess.run(  # noqa: S603 # our own words
                self.command, capture_output=True, text=True, check=False, timeout=self.deadline.left(_LONGEST_HERE)
            )
        except subprocess.TimeoutExpired:
            return Outcome(release, "the selftest did not finish in time")
        self._keep(RUNNING, done.stdout, done.stderr)
        outcome = outcome_of(done.stdout, release, done.stderr)
        self.reports(RUNNING, f"done: {outcome.totals()}", time.monotonic() - started)
        return outcome

    def _guest(self, series: str) -> Outcome:
        started = time.monotonic()

        def reports(what: str) -> None:
            self.reports(f"{self.kind}{series}", what, time.monotonic() - started)

        try:
            reports("fetching")
            if self.deadline.left() < _SHORTEST:
                raise Unavailable("no time was left for it")
            image = self.image(series)
            with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=self.folder) as scratch:
                ended = run_in_guest(
                    image,
                    [*self.command, *self.in_guest, *image.machine.arguments],
                    Path(scratch),
                    self.deadline,
                    reports,
                )
        except Unavailable as reason:
            reports(f"not available: {reason}")
            return Outcome(problem=str(reason))
        self._keep(series, ended.output, f"{ended.errors}{ended.console}")
        outcome = _outcome(image, ended)
        reports(f"done: {outcome.totals()}")
        return outcome

    def _keep(self, series: str, printed: str, reported: str) -> None:
        """Keep the output for further investigation."""
        (self.folder / "last" / f"{self.kind}{series}.json").write_text(printed)
        (self.folder / "last" / f"{self.kind}{series}.log").write_text(reported)


def _outcome(image: Image, ended: GuestResult) -> Outcome:
    if ended.code is not None:
        return outcome_of(ended.output, image.release, ended.errors)
    if not ended.in_time:
        return Outcome(image.release, f"the guest did not finish after {ended.seconds:.0f} s")
    last = (ended.console.strip().splitlines() or ["it printed nothing"])[-1]
    return Outcome(image.release, f"the guest died {'at work' if ended.running else 'while booting'}: {last}")
