# SPDX-License-Identifier: Apache-2.0
"""Devices in use that handle bios without making requests (zram, dm, md, NVMe multipath): block_io has no rows for
them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_SWAP = "swap"
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class BioDevice:
    """``name`` as in /sys/block, with its own name in brackets if it has one (dm). ``uses``: mount points, and
    ``swap``. ``below``: the devices underneath, if any."""

    name: str
    uses: tuple[str, ...]
    below: tuple[str, ...] = ()


def read_bio_devices(root: Path) -> Sequence[BioDevice]:
    """The ones that are mounted or used as swap, according to the files below ``root``."""
    uses: dict[Path, list[str]] = {}
    for device, use in (*_mounted(root), *_swaps(root)):
        disk = _whole(device)
        if disk is not None and (disk / "queue").exists() and not (disk / "mq").exists():
            uses.setdefault(disk, []).append(use)
    return [BioDevice(_name(disk), tuple(dict.fromkeys(where)), _below(disk)) for disk, where in uses.items()]


def _mounted(root: Path) -> Iterator[tuple[Path, str]]:
    """Folders in sysfs and their mount points: the host's if readable, otherwise our own."""
    lines = _lines(root / "proc/1/mountinfo") or _lines(root / "proc/self/mountinfo")
    for line in lines:
        before, _, after = line.partition(" - ")
        number, point, source = before.split()[2], before.split()[4], after.split()[1]
        device = root / "sys/dev/block" / number
        # btrfs and others use anonymous device numbers
        yield device if device.exists() else _by_name(root, source), _unescaped(point)


def _swaps(root: Path) -> Iterator[tuple[Path, str]]:
    for line in _lines(root / "proc/swaps")[1:]:
        yield _by_name(root, line.split()[0]), _SWAP


def _by_name(root: Path, source: str) -> Path:
    """The sysfs folder of a file in /dev; the links in /dev/mapper lead to it."""
    file = root / _unescaped(source).lstrip("/")
    return root / "sys/class/block" / (file.resolve().name if file.is_symlink() else file.name)


def _whole(device: Path) -> Path | None:
    """The whole disk of a device or partition; None if there is none, as for file systems in memory."""
    if not device.exists():
        return None
    folder = device.resolve()
    return folder.parent if (folder / "partition").exists() else folder


def _name(disk: Path) -> str:
    own = "".join(_lines(disk / "dm/name"))
    return f"{disk.name} ({own})" if own else disk.name


def _below(disk: Path) -> tuple[str, ...]:
    folder = disk / "slaves"
    return tuple(sorted(each.name for each in folder.iterdir())) if folder.is_dir() else ()


def _lines(file: Path) -> Sequence[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()


def _unescaped(text: str) -> str:
    return _OCTAL.sub(lambda code: chr(int(code[1], 8)), text)  # a blank is written \040
