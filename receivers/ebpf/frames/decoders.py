# SPDX-License-Identifier: Apache-2.0
"""Decodes numbers in keys to label values."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ebpf_sidecar.receivers.ebpf.kernel.syscall_table import SyscallTable, syscall_table
from ebpf_sidecar.receivers.ebpf.probe.model import ELSE, Attribute

Decode = Callable[[int], str | None]
"""The word for a value; None if rows with this value are not part of the metric."""

_MINOR_BITS = 20  # the kernel's own dev_t, not the one of stat(2)


@dataclass(frozen=True, slots=True)
class Decoders:
    """What decoders need to know about the machine. ``sys_root``: where sysfs is mounted."""

    syscalls: SyscallTable
    sys_root: Path = Path("/sys")

    @classmethod
    def of_machine(cls) -> Decoders:
        """The decoders for this machine. Raises `KeyError` if its system calls are unknown."""
        return cls(syscall_table())

    def of(self, attribute: Attribute) -> Decode:
        """The attribute's decoder."""
        if not isinstance(attribute.decode, str):
            return _table(attribute.decode)
        named: dict[str, Decode] = {"syscall": self.syscall, "errno": errno_name, "device": self.device}
        return named[attribute.decode]

    def syscall(self, number: int) -> str:
        """``openat`` for 257 on x86-64; the number itself if it has no name here."""
        return self.syscalls.names.get(number, str(number))

    def device(self, number: int) -> str:
        """``vda`` for its device number; ``254:0`` if the device is gone."""
        major, minor = number >> _MINOR_BITS, number & (1 << _MINOR_BITS) - 1
        try:
            return (self.sys_root / "dev" / "block" / f"{major}:{minor}").readlink().name
        except OSError:
            return f"{major}:{minor}"


def errno_name(number: int) -> str:
    """``ENOENT`` for 2; the number itself if it has no name."""
    return errno.errorcode.get(number, str(number))


def _table(words: Mapping[int | str, str]) -> Decode:
    rest = words.get(ELSE)
    return lambda value: words.get(value, rest)
