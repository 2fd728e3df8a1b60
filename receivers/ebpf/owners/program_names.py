# SPDX-License-Identifier: Apache-2.0
"""Full names of programs whose name the kernel cut, where it is certain that no other program can be meant.

A row stands for all processes of one name in one place (a container, a cgroup, the machine). It has a full name while a
single program can have been counted in it; from the moment on at which another one comes to that name, what is counted
has the cut name, and the former row keeps what was counted before.

A program takes its name a moment before it is told of as started. What is in between at a reading is cut until the next
one; who has taken a name and has not started as a program by then came to it in another way, and it stays cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from .new_names import NewName

MOST_NAMES = 65_536
"""Beyond, new names stay cut: more than any machine has of 15 bytes at a time."""
FEW_NAMES = 1024
"""Up to so many, nobody looks whose place is gone."""
Place = tuple[str | int, ...]
"""The other parts of a row's owner."""
_NOT_CERTAIN = b""


def nobody() -> Iterable[NewName]:
    """Where the kernel does not tell who comes to a name."""
    return ()


def nothing_lost() -> int:
    """Where nothing can be lost."""
    return 0


def not_reported(_problem: str) -> None:
    """Where nobody wants to know of names that stay cut."""


def told_of_all(_cgroup: int) -> bool:
    """Where all programs are told of."""
    return True


@dataclass
class ProgramNames:
    """Full names by place and cut name.

    ``take``: who came to a name since it was asked last; ``lost``: how many were not told so far, for want of room.
    ``complete``: whether all programs of a cgroup are told of; False for those that may have some of which nobody told.
    ``elsewhere``: cut names that processes have of which nobody knows the place. ``warn``: told once that there is no
    room for more names.
    """

    take: Callable[[], Iterable[NewName]] = nobody
    lost: Callable[[], int] = nothing_lost
    complete: Callable[[int], bool] = told_of_all
    elsewhere: set[bytes] = field(default_factory=set)
    warn: Callable[[str], None] = not_reported
    version: int = 0
    """Changes when a name that was certain is so no more."""
    _names: dict[tuple[Place, bytes], bytes] = field(default_factory=dict)
    _lost: int = 0
    _recent: set[tuple[Place, bytes]] = field(default_factory=set)
    _balance: Counter[tuple[Place, bytes]] = field(default_factory=Counter)
    _starting: set[tuple[Place, bytes]] = field(default_factory=set)
    """What was in doubt at the reading before."""
    _kept: int = 0
    _warned: bool = False

    def notice(self, place_of: Callable[[NewName], Place]) -> None:
        """Take in who came to a name meanwhile. Raises `ProbeError`."""
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
        """Names that more processes took than programs with them have started so far."""
        return {key for key, more in self._balance.items() if more > 0}

    def add(self, place: Place, comm: bytes, name: bytes) -> None:
        """A process with the name ``comm`` is or was there: a program's ``name``; empty: nobody knows which."""
        known = self._names.get((place, comm))
        if known is None:
            self._remember(place, comm, name)
        elif known and known != name:
            self._names[place, comm] = _NOT_CERTAIN
            self.version += 1

    def full(self, place: Place, comm: bytes) -> bytes:
        """The whole name of who is called ``comm`` there; ``comm`` where that is not certain."""
        known = self._names.get((place, comm))
        if self._balance[place, comm] > 0:
            return comm
        if known is None:  # counted although nobody told of it: whoever comes later is another one
            self.add(place, comm, _NOT_CERTAIN)
        return comm if not known or comm in self.elsewhere else known

    def crowded(self) -> bool:
        """Whether there are so many more names than were kept last that some may be of places that are gone."""
        return len(self._names) >= min(MOST_NAMES, max(FEW_NAMES, 2 * self._kept))

    def keep(self, wanted: Collection[Place]) -> None:
        """Forget the names of other places, where no process can be any more."""
        self._names = {key: name for key, name in self._names.items() if key[0] in wanted or key in self._recent}
        self._kept = len(self._names)

    def settle(self) -> None:
        """A reading is over: names that came before it have a row if they are to have one, and programs that were
        starting at the reading before have started."""
        doubtful = self._doubtful()
        for key in doubtful & self._starting:
            self.add(*key, _NOT_CERTAIN)
        self._starting = doubtful - self._starting
        self._balance = Counter({key: self._balance[key] for key in self._starting})
        self._recent.clear()

    def __len__(self) -> int:
        return len(self._names)

    def _remember(self, place: Place, comm: bytes, name: bytes) -> None:
        if len(self._names) < MOST_NAMES:
            self._names[place, comm] = name
            self._recent.add((place, comm))
        elif not self._warned:
            self._warned = True
            self.warn(
                f"names of programs: more than {MOST_NAMES:,} of 15 bytes and more, so those that come now stay cut; "
                "choose fewer programs with targets, or group_by: [container]"
            )

    def _doubt_after_losses(self) -> None:
        """Any program may have been among those that were not told: nothing known by now is certain."""
        lost = self.lost()
        if lost != self._lost:
            self._lost = lost
            self._names = dict.fromkeys(self._names, _NOT_CERTAIN)
            self.version += 1
