# SPDX-License-Identifier: Apache-2.0
"""What is not in any file: identity, limits, which system calls are allowed, and BCC. Tests pass their own."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field

from ebpf_sidecar.pipeline.process.isolation import python_code, start
from ebpf_sidecar.pipeline.process.seccomp import libseccomp_available
from ebpf_sidecar.receivers.ebpf.kernel.bpf_syscall import kernel_call
from ebpf_sidecar.receivers.ebpf.kernel.reader_rights import rights_to_read
from ebpf_sidecar.receivers.ebpf.kernel.syscall_table import syscall_table
from ebpf_sidecar.receivers.ebpf.kernel.system_call import system_call
from ebpf_sidecar.receivers.ebpf.loader.bcc_package import system_folder

_NO_COMMAND = 0xFFFF  # bpf(2) answers EINVAL to an unknown command, if the caller has permission
_BCC = "import bcc; print(getattr(bcc, '__version__', 'of unknown version'))"
_BCC_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Bcc:
    """``version`` is empty when the module cannot be imported; then ``cause`` says why."""

    version: str = ""
    cause: str = ""
    folder: str = ""
    """Where the system's Python has it, if this one cannot import it."""


@dataclass(frozen=True, slots=True)
class System:
    """``machine`` as reported by uname. ``user`` and ``group``: effective ids. ``memlock``: bytes, -1 for no limit.
    ``open_files``: the most descriptors that this process may give itself, -1 for no limit. ``cpus``: at work.

    ``answers``: errno of calls that were tried with nothing in them, by name: EINVAL or EFAULT is what the kernel says
    to those it lets in. ``to_read``: capabilities without which maps cannot be read here. ``libseccomp``: it is there.
    """

    release: str
    machine: str
    page_bytes: int = 4096
    user: int = 0
    group: int = 0
    memlock: int = -1
    answers: Mapping[str, int] = field(default_factory=dict)
    bcc: Bcc = Bcc()
    to_read: tuple[str, ...] = ()
    libseccomp: bool = True
    open_files: int = -1
    cpus: int = 1


def this_system() -> System:
    """The system as this process sees it. BCC is imported by a child, since it would take 125 MB here."""
    names = os.uname()
    return System(
        release=names.release,
        machine=names.machine,
        page_bytes=os.sysconf("SC_PAGE_SIZE"),
        user=os.geteuid(),
        group=os.getegid(),
        memlock=resource.getrlimit(resource.RLIMIT_MEMLOCK)[0],
        answers=_answers(names.machine),
        bcc=_bcc(),
        to_read=rights_to_read(),
        libseccomp=libseccomp_available(),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        cpus=os.cpu_count() or 1,
    )


def _answers(machine: str) -> Mapping[str, int]:
    try:
        syscall_table(machine)
    except KeyError:
        return {}
    return {
        "bpf": kernel_call(_NO_COMMAND, bytearray(128)),
        "perf_event_open": _errno("perf_event_open", None, 0, -1, -1, 0),
    }


def _errno(name: str, *arguments: object) -> int:
    try:
        system_call(name, *arguments)
    except OSError as refusal:
        return refusal.errno or 0
    return 0


def _bcc() -> Bcc:
    try:
        with start(python_code(_BCC), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            reported, problem = _outcome(child)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Bcc(cause=str(error))
    if child.returncode == 0:
        return Bcc(version=reported.strip())
    cause = (problem.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
    return Bcc(cause=cause, folder=system_folder())


def _outcome(child: subprocess.Popen[bytes]) -> tuple[str, str]:
    try:
        reported, problem = child.communicate(timeout=_BCC_SECONDS)
    except BaseException:
        child.kill()
        raise
    return reported.decode(errors="replace"), problem.decode(errors="replace")
