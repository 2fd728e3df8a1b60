# SPDX-License-Identifier: Apache-2.0
"""Whether we are in the host's namespaces: the initial ones have fixed inode numbers (include/linux/proc_ns.h)."""

from __future__ import annotations

from pathlib import Path

HOST_NAMESPACES = {"cgroup": 0xEFFFFFFB, "pid": 0xEFFFFFFC, "user": 0xEFFFFFFD}
"""Inode number of the initial namespace, by kind."""


def in_host_namespace(kind: str, proc: Path) -> bool | None:
    """Whether our namespace of that kind is the host's; None if it cannot be read. ``proc``: where /proc is mounted."""
    try:
        return (proc / "self/ns" / kind).readlink().name.endswith(f":[{HOST_NAMESPACES[kind]}]")
    except OSError:
        return None
