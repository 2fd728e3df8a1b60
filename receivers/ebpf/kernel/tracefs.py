# SPDX-License-Identifier: Apache-2.0
"""The kernel's description of its tracepoints: which exist and which fields they have."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ebpf_sidecar.pipeline.process.libc import libc_call

PLACES = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
_KPROBES = "bus/event_source/devices/kprobe"  # below /sys
_KALLSYMS = Path("/proc/kallsyms")
MOUNT_COMMAND = "mount -t tracefs tracefs /sys/kernel/tracing"
_MOUNTS = Path("/proc/self/mounts")
_NEW_MOUNTS = 0x00020000  # CLONE_NEWNS
_PRIVATE = 0x4000 | 0x40000  # MS_REC | MS_PRIVATE
_FIELD = re.compile(r"^\s*field:.*?(\w+)(?:\[[^\]]*\])?;", re.MULTILINE)


@dataclass(frozen=True)
class Tracefs:
    """A mounted tracefs. ``kprobes``: exists if the kernel can probe functions."""

    root: Path
    kprobes: Path = Path("/sys") / _KPROBES

    def has(self, event: str) -> bool:
        """Whether the kernel has the tracepoint ``category:name``."""
        return self._format(event).exists()

    def why_no_kprobes(self) -> str:
        """Why kprobes are unavailable; empty if they are available."""
        return "" if self.kprobes.exists() else "this kernel has no kprobes (CONFIG_KPROBES)"

    def why_not_function(self, name: str) -> str:
        """Why the kernel function ``name`` cannot be hooked in any way; empty if it can.

        Names must match exactly: a compiler's cold part (``name.cold``) can be probed, but is never reached.
        """
        lines, befores = self._functions
        wanted = (before + name.encode() + after for before in befores for after in (b"\n", b" ", b"\t"))
        return "" if any(each in lines for each in wanted) else f"this kernel has no function {name} that can be probed"

    @cached_property
    def _functions(self) -> tuple[bytes, tuple[bytes, ...]]:
        """The lines with all names, and what precedes a name; only a module's name may follow it."""
        try:
            return b"\n" + (self.root / "available_filter_functions").read_bytes(), (b"\n",)
        except OSError:  # without CONFIG_DYNAMIC_FTRACE
            return _KALLSYMS.read_bytes(), (b" T ", b" t ")

    def fields(self, event: str) -> tuple[str, ...]:
        """The fields of the tracepoint, without those common to all. Raises `OSError` if there is no such event."""
        found = _FIELD.findall(self._format(event).read_text(encoding="ascii", errors="replace"))
        return tuple(name for name in found if not name.startswith("common_"))

    def format(self, event: str) -> str:
        """The kernel's description of a tracepoint; empty if there is none."""
        try:
            return self._format(event).read_text(encoding="ascii", errors="replace")
        except OSError:
            return ""

    def number(self, event: str) -> int:
        """The tracepoint's id, by which perf events are opened. Raises `OSError`."""
        return int(self._format(event).with_name("id").read_text(encoding="ascii"))

    def kprobe_type(self) -> int:
        """The perf event type of kprobes. Raises `OSError`."""
        return int((self.kprobes / "type").read_text(encoding="ascii"))

    def kretprobe_bit(self) -> int:
        """The perf event config bit of kretprobes. Raises `OSError`."""
        return 1 << int((self.kprobes / "format/retprobe").read_text(encoding="ascii").partition(":")[2])

    def _format(self, event: str) -> Path:
        category, _, name = event.partition(":")
        return self.root / "events" / category / name / "format"


def find_tracefs(places: tuple[Path, ...] = PLACES) -> Tracefs | None:
    """The first of ``places`` where tracefs is mounted and readable."""
    for place in places:
        # not access(2): for users other than root it ignores capabilities
        with suppress(OSError):
            _check_readable(place / "events")
            return Tracefs(place, *(above.parent / _KPROBES for above in place.parents if above.name == "kernel"))
    return None


def _check_readable(events: Path) -> None:
    """Raise `OSError` unless the files can be read as well: only root may, whatever the folders' permissions."""
    for category in events.iterdir():
        for event in _folders(category):
            (event / "format").read_bytes()
            return


def _folders(place: Path) -> list[Path]:
    if not place.is_dir():
        return []
    with os.scandir(place) as entries:
        return [Path(entry) for entry in entries if entry.is_dir()]


def is_mounted(mounts: Path = _MOUNTS) -> bool:
    """Whether it is mounted anywhere, readable or not; ``mounts``: the list of mounts."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return any(fields[2] == "tracefs" for line in lines if len(fields := line.split()) > 2)


def mount_command(group: int) -> str:
    """The command that mounts it so that a group can read it, see `remount_command`."""
    return f"mount -t tracefs -o mode=750,gid={group} tracefs {PLACES[0]}"


def remount_command(group: int) -> str:
    """The command that lets a group read it: the mode is that of the folder, the group that of all files."""
    return f"mount -o remount,mode=750,gid={group} {PLACES[0]}"


def mount_tracefs(place: Path = PLACES[0]) -> None:
    """Mount tracefs for this process alone: the mount ends with it. Raises `OSError` if that is not permitted."""
    libc_call("unshare", _NEW_MOUNTS)
    for above in (*reversed(place.parents), place):
        # fails where there is no mount point, as for "/" after chroot(2); a shared mount would expose ours to others
        with suppress(OSError):
            libc_call("mount", None, os.fsencode(above), None, _PRIVATE, None)
    libc_call("mount", b"tracefs", os.fsencode(place), b"tracefs", 0, None)
