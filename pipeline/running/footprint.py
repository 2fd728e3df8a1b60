# SPDX-License-Identifier: Apache-2.0
"""Memory footprint: file pages that only the start needed are returned to the kernel.

Imports touch most pages of libraries, and the running service needs half of them. Unmodified file pages can be dropped
at any time: the kernel maps them again when they are used. By itself it drops them only under memory pressure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from ebpf_sidecar.pipeline.process.libc import libc_call

Advise = Callable[[int, int], None]
"""Takes the address and length of a mapping whose pages are not needed now."""

_DONTNEED = 4
# the address range of a read-only file mapping, then lines with the amount of changed pages
_MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ \d+ +/.*\n((?:[A-Z]\w+: .*\n)+)", re.MULTILINE)
_CHANGED = re.compile(r"^(?:Anonymous|Swap|Locked): +[1-9]", re.MULTILINE)


def release_start_up(proc: Path, advise: Advise | None = None) -> None:
    """Drop the unmodified file pages that this process has mapped; ``proc``: where /proc is mounted.

    Call it while no other thread might load a library, because mappings must not change in between. Without smaps (a
    restricted /proc) nothing is done.
    """
    try:
        text = (proc / "self/smaps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for start, end in unchanged_mappings(text):
        (advise or _advise)(start, end - start)


def unchanged_mappings(smaps: str) -> Iterator[tuple[int, int]]:
    """Start and end of private read-only file mappings without changed pages (see proc(5))."""
    for start, end, about in _MAPPING.findall(smaps):
        if not _CHANGED.search(about):
            yield int(start, 16), int(end, 16)


def _advise(address: int, length: int) -> None:
    with suppress(OSError):  # the pages just stay in memory
        libc_call("madvise", address, length, _DONTNEED)
