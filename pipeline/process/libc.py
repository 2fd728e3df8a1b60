# SPDX-License-Identifier: Apache-2.0
"""The only place that calls the C library: functions that Python has no name for, and system calls by number."""

from __future__ import annotations

import ctypes
import errno
import os

_LIBC = ctypes.CDLL(None, use_errno=True)
_WORD = ctypes.c_void_p  # for integers, too: without a type ctypes passes them as 32 bits
_SYSCALL = _LIBC.syscall
_SYSCALL.restype, _SYSCALL.argtypes = ctypes.c_long, [ctypes.c_long] + [_WORD] * 6
_UNUSED = tuple((0,) * (6 - count) for count in range(7))


def libc_call(name: str, *arguments: object) -> int:
    """The result of a function. Arguments are integers, bytes, None for a null pointer, or buffers of ctypes.

    Raises `OSError` with the function's name in ``filename`` if the result is -1, or if the library lacks the function
    (ENOSYS).
    """
    try:
        function = _LIBC[name]
    except AttributeError:
        raise call_error(errno.ENOSYS, name) from None
    function.argtypes = [_WORD] * len(arguments)
    result: int = function(*arguments)
    if result == -1:
        raise call_error(ctypes.get_errno(), name)
    return result


def numbered_call(name: str, number: int, *arguments: object) -> int:
    """The same for a system call; ``name`` is for the error."""
    result: int = _SYSCALL(number, *arguments, *_UNUSED[len(arguments)])
    if result == -1:
        raise call_error(ctypes.get_errno(), name)
    return result


def call_error(number: int, name: str) -> OSError:
    """What a call that failed with errno ``number`` raises."""
    return OSError(number, os.strerror(number), name)
