# SPDX-License-Identifier: Apache-2.0
"""Full names of programs whose name the kernel truncated, if it is certain that no other program can be meant.

A row stands for all processes of one name in one place (a container, a cgroup, the machine). It has a full name while
only a single program can have been counted in it; once another one takes that name, new counts go to the truncated
name, and the former row keeps its counts.

A program takes its name shortly before it is reported as started. If a reading falls in between, the name is truncated
until the next one; a process that has not started as a program by then took its name in another way, and the name stays
truncated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from .new_names import NewName

MAX_NAMES = 65_536
"""Beyond it, new names stay truncated: more than any machine has of 15 bytes at a time."""
NAMES_ALWAYS_KEPT = 1024
"""Up to this number, there is no check for places that are gone."""
Place = tuple[str | int, ...]
"""The parts of a row's owner other than the name."""
_NOT_CERTAIN = b""


def no_new_names() -> Iterable[NewName]:
    """Used if the kernel does not report who takes a name."""
    return ()


def none_lost() -> int:
    """Used if no report can be lost."""
    return 0


def not_warned(_problem: str) -> None:
    """Used if there is no warning about names that stay truncated."""


def all_reported(_cgroup: int) -> bool:
    """Used if all programs are reported."""
    return True


@dataclass
class ProgramNames:
    """Full names by place and truncated name.

    ``take``: returns who took a name since its last call; ``lost``: how many were not reported, because the map was
    full. ``complete``: whether all programs of a cgroup were reported; False if some may not have been. ``elsewhere``:
    truncated names of processes whose place is unknown. ``warn``: called once when there is no room for more names.
    """

    take: Callable[[], Iterable[NewName]] = no_new_names
    lost: Callable[[], int] = none_lost
    complete: Callable[[int], bool] = all_reported
    elsewhere: set[bytes] = field(default_factory=set)
    warn: Callable[[str], None] = not_warned
    version: int = 0
    """Changes when a certain name becomes uncertain."""
    _names: dict[tuple[Place, bytes], bytes] = field(default_factory=dict)
    _lost: int = 0
    _recent: set[tuple[Place, bytes]] = field(default_factory=set)
    _balance: Counter[tuple[Place, bytes]] = field(default_factory=Counter)
    _starting: set[tuple[Place, bytes]] = field(default_factory=set)
    """The names in doubt at the previous reading."""
    _kept: int = 0
    _warned: bool = False

    def notice(self, place_of: Callable[[NewName], Place]) -> None:
        """Add the processes that took a name meanwhile. Raises `ProbeError`."""
        doubtful = self._doubtful()
        for each in self.take():
            key = place_of(each), each.comm
            if each.started:
                self.add(*key, each.name if self.complete(each.cgroup) else _NOT_CERTAIN)
            else:
                self._balance[key] += each.count
        if doubtful != self._doubtful():
            self.version += 1
        self._doubt_after_losses()

    def _doubtful(self) -> set[tuple[Place, bytes]]:
        """The names that more processes have taken than programs with them have started."""
        return {key for key, more in self._balance.items() if more > 0}

    def add(self, place: Place, comm: bytes, name: bytes) -> None:
        """Add a process with the name ``comm`` at a place. ``name``: its program's full name, empty if unknown."""
        known = self._names.get((place, comm))
        if known is None:
            self._remember(place, comm, name)
        elif known and known != name:
            self._names[place, comm] = _NOT_CERTAIN
            self.version += 1

    def full(self, place: Place, comm: bytes) -> bytes:
        """The full name of ``comm`` at a place; ``comm`` itself if that is not certain."""
        known = self._names.get((place, comm))
        if self._balance[place, comm] > 0:
            return comm
        if known is None:  # counted although not reported: a later program is a different one
            self.add(place, comm, _NOT_CERTAIN)
        return comm if not known or comm in self.elsewhere else known

    def crowded(self) -> bool:
        """Whether there are so many more names than last kept that some may belong to places that are gone."""
        return len(self._names) >= min(MAX_NAMES, max(NAMES_ALWAYS_KEPT, 2 * self._kept))

    def keep(self, wanted: Collection[Place]) -> None:
        """Forget the names of other places, which can no longer have processes."""
        self._names = {key: name for key, name in self._names.items() if key[0] in wanted or key in self._recent}
        self._kept = len(self._names)

    def settle(self) -> None:
        """End a reading: names taken before it now have a row if they need one, and programs that were starting at the
        previous reading have started."""
        doubtful = self._doubtful()
        for key in doubtful & self._starting:
            self.add(*key, _NOT_CERTAIN)
        self._starting = doubtful - self._starting
        self._balance = Counter({key: self._balance[key] for key in self._starting})
        self._recent.clear()

    def __len__(self) -> int:
        return len(self._names)

    def _remember(self, place: Place, comm: bytes, name: bytes) -> None:
        if len(self._names) < MAX_NAMES:
            self._names[place, comm] = name
            self._recent.add((place, comm))
        elif not self._warned:
            self._warned = True
            self.warn(
                f"names of programs: more than {MAX_NAMES:,} have 15 bytes or more, so new ones stay truncated; "
                "measure fewer programs with targets, or use group_by: [container]"
            )

    def _doubt_after_losses(self) -> None:
        """Any program may be among those that were not reported: nothing known so far is certain."""
        lost = self.lost()
        if lost != self._lost:
            self._lost = lost
            self._names = dict.fromkeys(self._names, _NOT_CERTAIN)
            self.version += 1
