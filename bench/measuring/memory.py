# SPDX-License-Identifier: Apache-2.0
"""A process's memory and CPU time, as reported by the kernel."""

from __future__ import annotations

from pathlib import Path

MEMORY_FILES = ("status", "smaps_rollup")


def in_mib(pid: int | str = "self") -> dict[str, float]:
    """Memory of a process in MiB: ``rss`` all that is mapped, ``anon`` its own, ``file`` of files, which others may
    map as well, ``pss`` with shared parts divided, ``private`` what its end would free, ``peak`` the most ``rss``."""
    return memory_in("".join(Path(f"/proc/{pid}/{name}").read_text() for name in MEMORY_FILES))


def memory_in(text: str) -> dict[str, float]:
    """The same from the text of `MEMORY_FILES`."""
    lines = [line.split() for line in text.splitlines() if line.endswith(" kB")]
    found = {name.rstrip(":"): int(size) / 1024 for name, size, _ in lines}
    private = found["Private_Clean"] + found["Private_Dirty"]
    mapped = {"rss": found["VmRSS"], "anon": found["RssAnon"], "file": found["RssFile"], "pss": found["Pss"]}
    return {**mapped, "private": private, "peak": found["VmHWM"]}


def cpu_ns(pid: int) -> dict[str, int]:
    """CPU time by thread in nanoseconds, as the scheduler counts it."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return {task.name: int((task / "schedstat").read_text().split()[0]) for task in tasks}
