# SPDX-License-Identifier: Apache-2.0
"""The kernel's own statistics of disks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SECTOR = 512


@dataclass(frozen=True, slots=True)
class Disks:
    """Completed operations and their bytes since boot, by ``reads`` and ``writes``, of all disks together."""

    operations: Mapping[str, int]
    sizes: Mapping[str, int]


def read_disks(proc: Path, sys: Path) -> Disks:
    """All physical disks (not those stacked on others): each request is counted there once. Raises `OSError`."""
    return _added_up(proc, names_of_disks(sys))


def read_disk(disk: Path, proc: Path) -> Disks:
    """One disk, by its folder; all 0 if the kernel keeps no statistics of it. Raises `OSError`."""
    return _added_up(proc, [disk.name])


def disk_of(folder: Path, sys: Path) -> Path | None:
    """The disk that holds ``folder``: the disk's folder in sysfs.

    None if it is not directly on one: btrfs and overlay have anonymous device numbers, LVM and RAID lead to several.
    """
    number = folder.stat().st_dev
    device = sys / "dev" / "block" / f"{os.major(number)}:{os.minor(number)}"
    disk = device.resolve().parent if (device / "partition").exists() else device.resolve()
    return disk if (disk / "device").exists() else None


def names_of_disks(sys: Path) -> Sequence[str]:
    """The disks that `read_disks` counts. Raises `OSError`."""
    return [folder.name for folder in (sys / "block").iterdir() if (folder / "device").exists()]


def scheduler_of(disk: Path) -> str:
    """The I/O scheduler of a disk (its folder below /sys/block): ``none`` or its name."""
    try:
        words = (disk / "queue" / "scheduler").read_text(encoding="ascii").split()
    except OSError:
        return "none"
    return next((word.strip("[]") for word in words if word.startswith("[")), "none")


def _added_up(proc: Path, names: Sequence[str]) -> Disks:
    operations, sizes = {"reads": 0, "writes": 0}, {"reads": 0, "writes": 0}
    for line in (proc / "diskstats").read_text(encoding="ascii").splitlines():
        _, _, name, *numbers = line.split()
        if name.replace("/", "!") in names:
            for which, at in (("reads", 0), ("writes", 4)):
                operations[which] += int(numbers[at])
                sizes[which] += int(numbers[at + 2]) * _SECTOR
    return Disks(operations, sizes)
