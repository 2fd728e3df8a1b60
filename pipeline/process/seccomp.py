# SPDX-License-Identifier: Apache-2.0
"""A seccomp filter: system calls that the service never needs fail with EPERM; nothing is killed.

It is a deny list, similar to Docker's, so that plugins and libraries need not be known. libseccomp, which is available
in every distribution, knows the numbers for each architecture.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator

REFUSED = (
    "acct", "add_key", "adjtimex", "bpf", "chroot", "clock_adjtime", "clock_adjtime64", "clock_settime",
    "clock_settime64", "create_module", "delete_module", "fanotify_init", "finit_module", "fsconfig", "fsmount",
    "fsopen", "fspick", "get_kernel_syms", "init_module", "io_uring_enter", "io_uring_register", "io_uring_setup",
    "ioperm", "iopl", "kcmp", "kexec_file_load", "kexec_load", "keyctl", "lookup_dcookie", "mknod", "mknodat", "mount",
    "mount_setattr", "move_mount", "move_pages", "nfsservctl", "open_by_handle_at", "open_tree",
    "perf_event_open", "personality", "pidfd_getfd", "pivot_root", "process_madvise", "process_vm_readv",
    "process_vm_writev", "ptrace", "query_module", "quotactl", "quotactl_fd", "reboot", "request_key", "setdomainname",
    "setfsgid", "setfsuid", "setgid", "setgroups", "sethostname", "setns", "setregid", "setresgid", "setresuid",
    "setreuid", "settimeofday", "setuid", "stime", "swapoff", "swapon", "syslog", "umount", "umount2", "unshare",
    "uselib", "userfaultfd", "ustat", "vhangup",
)  # fmt: skip
"""Names; some exist on some architectures only. bpf(2) commands that read and write maps are allowed."""

_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_BAD_ARCHITECTURE, _ALL_THREADS = 2, 4  # enum scmp_filter_attr
_GREATER_OR_EQUAL, _EQUAL, _MASKED_EQUAL = 5, 4, 7  # enum scmp_compare
_MAP_COMMANDS = {1, 2, 3, 4, 15, 21, 24, 25, 26, 27}  # elements, batches of them, and information (linux/bpf.h)
_NO_COMMAND = 64  # far above the last one
_NAMESPACES = (0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)  # CLONE_NEW…
_LIBRARY = "libseccomp.so.2"


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


def libseccomp_available(library: str = _LIBRARY) -> bool:
    """Whether libseccomp is available."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def refuse_system_calls(library: str = _LIBRARY) -> None:
    """Install the filter in all threads for good. Raises `OSError` if libseccomp is missing or the kernel refuses."""
    seccomp = ctypes.CDLL(library)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(_ALLOW)))
    try:
        # programs of another architecture (32 bits) are killed by default
        _check(seccomp.seccomp_attr_set(context, _BAD_ARCHITECTURE, ctypes.c_uint32(_ERRNO | errno.EPERM)))
        _check(seccomp.seccomp_attr_set(context, _ALL_THREADS, ctypes.c_uint32(1)))
        for name, answer, comparisons in _rules():
            _add(seccomp, context, name, answer, comparisons)
        _check(seccomp.seccomp_load(context))
    finally:
        seccomp.seccomp_release(context)


def _rules() -> Iterator[tuple[str, int, list[_Comparison]]]:
    """System call, errno, and the conditions on its arguments (all must hold)."""
    for name in REFUSED:
        if name != "bpf":
            yield name, errno.EPERM, []
    for command in set(range(_NO_COMMAND)) - _MAP_COMMANDS:
        yield "bpf", errno.EPERM, [_Comparison(0, _EQUAL, command, 0)]
    yield "bpf", errno.EPERM, [_Comparison(0, _GREATER_OR_EQUAL, _NO_COMMAND, 0)]
    for flag in _NAMESPACES:
        yield "clone", errno.EPERM, [_Comparison(0, _MASKED_EQUAL, flag, flag)]
    # its flags are in memory, which filters cannot read; the C library then falls back to clone
    yield "clone3", errno.ENOSYS, []


def _add(
    seccomp: ctypes.CDLL, context: ctypes.c_void_p, name: str, answer: int, comparisons: list[_Comparison]
) -> None:
    number = seccomp.seccomp_syscall_resolve_name(name.encode())
    if number < 0:  # not on this architecture, or newer than the library
        return
    array = (_Comparison * len(comparisons))(*comparisons)
    action = ctypes.c_uint32(_ERRNO | answer)
    _check(seccomp.seccomp_rule_add_array(context, action, number, len(comparisons), array))


def _check(result: int) -> None:
    if result < 0:
        raise OSError(-result, os.strerror(-result))
