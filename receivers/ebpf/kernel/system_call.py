# SPDX-License-Identifier: Apache-2.0
"""System calls by name."""

from __future__ import annotations

import errno

from ebpf_sidecar.pipeline.process.libc import call_error, numbered_call

from .syscall_table import syscall_table


def system_call(name: str, *arguments: object) -> int:
    """Make a system call. Raises `OSError` with its name in ``filename``: ENOSYS also if we do not know its number."""
    try:
        number = syscall_table().numbers[name]
    except KeyError:
        raise call_error(errno.ENOSYS, name) from None
    return numbered_call(name, number, *arguments)
