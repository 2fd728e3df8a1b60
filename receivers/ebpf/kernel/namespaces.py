# SPDX-License-Identifier: Apache-2.0
"""Whether we are in the host's namespaces: the first ones have numbers that never change (include/linux/proc_ns.h)."""

from __future__ import annotations

from pathlib import Path

FIRST = {"cgroup": 0xEFFFFFFB, "pid": 0xEFFFFFFC, "user": 0xEFFFFFFD}
"""The number of the first namespace, by kind."""


def in_first(kind: str, proc: Path) -> bool | None:
    """Whether our namespace of that kind is the host's; None where it cannot be read. ``proc``: where /proc is."""
    try:
        return (proc / "self/ns" / kind).readlink().name.endswith(f":[{FIRST[kind]}]")
    except OSError:
        return None
