# SPDX-License-Identifier: Apache-2.0
"""Linux capabilities of the calling thread: reading and dropping them (capabilities(7)).

No system call changes all threads of a process, so capabilities are dropped before the second thread starts.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .libc import libc_call

NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
"""By number, without ``CAP_``."""

_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
_BOUNDING_READ, _BOUNDING_DROP, _NO_NEW_PRIVS, _AMBIENT = 23, 24, 38, 47
_AMBIENT_RAISE, _AMBIENT_CLEAR = 2, 4
_HALF = 32
_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def permitted_capabilities(proc: Path = Path("/proc")) -> frozenset[str]:
    """The capabilities that this thread may use."""
    return capability_sets(proc / "thread-self")["CapPrm"]


def capability_sets(process: Path) -> dict[str, frozenset[str]]:
    """All sets by their names in ``status``; ``process``: its folder in /proc. Raises `OSError`."""
    text = (process / "status").read_text(encoding="ascii", errors="replace")
    masks = dict(re.findall(r"^(Cap\w+):\s*(\w+)$", text, re.MULTILINE))
    return {name: _names(int(masks.get(name, "0"), 16)) for name in _SETS}


def limit_capabilities(kept: Collection[str], *, inheritable: bool = False) -> None:
    """Drop all capabilities except ``kept`` (as far as present), for this thread and its children.

    ``inheritable``: executed programs have the remaining ones, too, whatever the user is. Raises `OSError`.
    """
    mask = _mask(permitted_capabilities() & frozenset(kept))
    _drop_bounding(mask)
    _prctl(_AMBIENT, _AMBIENT_CLEAR)
    _set(mask, mask, mask if inheritable else 0)
    for number in range(len(NAMES)) if inheritable else ():
        if mask >> number & 1:
            _prctl(_AMBIENT, _AMBIENT_RAISE, number)


def forbid_new_privileges() -> None:
    """Executed programs get no more privileges than their parent, whatever their file says. Raises `OSError`."""
    _prctl(_NO_NEW_PRIVS, 1)


@contextmanager
def without_capabilities() -> Iterator[None]:
    """Disable all capabilities of the thread and restore them afterwards. Raises `OSError`."""
    sets = capability_sets(Path("/proc/thread-self"))
    mine = _mask(sets["CapPrm"])
    _set(0, mine, _mask(sets["CapInh"]))
    try:
        yield
    finally:
        _set(_mask(sets["CapEff"]), mine, _mask(sets["CapInh"]))


def _drop_bounding(mask: int) -> None:
    """If allowed (CAP_SETPCAP); it only matters for programs that are executed without no_new_privs."""
    for number in range(2 * _HALF):
        with suppress(OSError):  # this kernel has no such capability, or dropping it is not allowed
            if _prctl(_BOUNDING_READ, number) == 1 and not mask >> number & 1:
                _prctl(_BOUNDING_DROP, number)


def _set(effective: int, mine: int, inheritable: int) -> None:
    """capset(2)."""
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)
    low = (1 << _HALF) - 1
    halves = (effective, mine, inheritable)
    data = (ctypes.c_uint32 * 6)(*(each & low for each in halves), *(each >> _HALF for each in halves))
    libc_call("capset", header, data)


def _prctl(option: int, *arguments: int) -> int:
    return libc_call("prctl", option, *(*arguments, 0, 0, 0, 0)[:4])


def _mask(names: Collection[str]) -> int:
    return sum(1 << NAMES.index(name) for name in names)


def _names(mask: int) -> frozenset[str]:
    return frozenset(name for number, name in enumerate(NAMES) if mask >> number & 1)
