# SPDX-License-Identifier: Apache-2.0
"""A seccomp filter that answers some system calls instead of the kernel.

Workloads start with the standard library alone, so they call the C library and know their numbers themselves.
"""

import ctypes
import platform
import struct

FDATASYNC, RENAMEAT2 = (75, 316) if platform.machine() == "x86_64" else (83, 276)
_NO_NEW_PRIVS, _SECCOMP, _FILTER = 38, 22, 2  # prctl(2)
_LOAD, _JUMP_IF_EQUAL, _ANSWER = 0x20, 0x15, 0x06
_REFUSE, _ALLOW = 0x00050000, 0x7FFF0000
_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


def refuse(*refused: tuple[int, int]) -> None:
    """From now on these calls (number, error) fail with their errors; 0 pretends success without doing the call."""
    lines = [(_LOAD, 0, 0, 0)]  # the call's number
    for number, error in refused:
        lines += [(_JUMP_IF_EQUAL, 0, 1, number), (_ANSWER, 0, 0, _REFUSE | error)]
    lines.append((_ANSWER, 0, 0, _ALLOW))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    program = _Program(len(lines), ctypes.addressof(code))
    _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    if _libc.prctl(_SECCOMP, _FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "this kernel does not accept seccomp filters")


def call(number: int, *arguments: int) -> int:
    """The error of a system call, 0 if there is none."""
    failed = _libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments)) == -1
    return ctypes.get_errno() if failed else 0
