# SPDX-License-Identifier: Apache-2.0
"""Explains why the kernel refused something, and what to do. Pure: takes what is known about the process."""

from __future__ import annotations

import errno
import os
import re
import resource
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from .namespaces import in_host_namespace
from .tracefs import MOUNT_COMMAND, mount_command, remount_command

_BITS = {"CAP_SYS_ADMIN": 21, "CAP_SYS_RESOURCE": 24, "CAP_PERFMON": 38, "CAP_BPF": 39}
_OLDEST = (5, 10)
_OWN_CAPABILITIES = (5, 8)  # CAP_BPF and CAP_PERFMON exist since 5.8
_NO_MEMLOCK = (5, 11)  # map memory is charged to the cgroup since 5.11
_SECCOMP_FILTER = 2
_MEMLOCK_NEEDED = 64 << 20
_DENIED = (errno.EPERM, errno.EACCES)
_LOG_LINES = 3
_NO_REASONS = ("HINT", "processed", "bpf: Failed to load program")
_HELPER_REFUSED = re.compile("unknown func|cannot use helper|helper call is not allowed")
_NO_DESCRIPTORS = os.strerror(errno.EMFILE)
MORE_DESCRIPTORS = "raise the limit (ulimit -n 65536, systemd: LimitNOFILE=65536, docker: --ulimit nofile=65536)"
_ALTERNATIVE = "run as root or grant it (docker: --cap-add, Kubernetes: securityContext.capabilities.add)"
_CONFINED = (
    "the capabilities are valid only in this user namespace; run rootful (Kubernetes: hostUsers: true; "
    "docker: --userns=host)"
)


class Failure(StrEnum):
    """Why probes could not be loaded."""

    RIGHTS = "rights"
    SECCOMP = "seccomp"
    TRACEFS = "tracefs"
    BCC = "bcc"
    KERNEL = "kernel"
    MEMLOCK = "memlock"
    COMPILE = "compile"
    ATTACH = "attach"
    VERIFIER = "verifier"
    DESCRIPTORS = "descriptors"
    TIMEOUT = "timeout"
    CRASH = "crash"
    KILLED = "killed"


BRIEFLY = {failure: failure.value for failure in Failure} | {
    Failure.RIGHTS: "not permitted",
    Failure.SECCOMP: "refused by seccomp",
    Failure.KERNEL: "refused by this kernel",
    Failure.MEMLOCK: "lacks locked memory",
    Failure.ATTACH: "failed",
    Failure.VERIFIER: "refused by the verifier",
    Failure.DESCRIPTORS: "lacks descriptors",
}
"""For labels: what happened at an attach point."""


@dataclass(frozen=True, slots=True)
class LoadProblem:
    """A cause and the message to show."""

    failure: Failure
    message: str


@dataclass(frozen=True, slots=True)
class ProcessPrivileges:
    """What a process may do.

    ``capabilities``: the effective set as a bit mask. ``seccomp``: 0 none, 1 strict, 2 filter. ``memlock``: its limit
    in bytes, -1 for none. ``confined``: in a user namespace, outside of which its capabilities have no effect.
    """

    capabilities: int
    seccomp: int
    release: tuple[int, int]
    memlock: int = -1
    confined: bool = False

    def may(self, capability: str) -> bool:
        """Whether it has the capability (by name), or the older one that includes it."""
        stands_for = {"CAP_BPF": "CAP_SYS_ADMIN", "CAP_PERFMON": "CAP_SYS_ADMIN"}
        names = [capability, *([stands_for[capability]] if capability in stands_for else [])]
        return any(self.capabilities >> _BITS[name] & 1 for name in names)


def own_privileges() -> ProcessPrivileges:
    """The privileges of our own process."""
    return privileges_in(Path("/proc"), os.uname().release, resource.getrlimit(resource.RLIMIT_MEMLOCK)[0])


def privileges_in(proc: Path, release: str, memlock: int) -> ProcessPrivileges:
    """The privileges of the process ``self`` below ``proc`` on kernel ``release``; none if unknown."""
    status = ""
    with suppress(OSError):
        status = (proc / "self" / "status").read_text(encoding="ascii", errors="replace")
    reported = dict(re.findall(r"^(\w+):[ \t]*(\w+)", status, re.MULTILINE))
    capabilities, seccomp = int(reported.get("CapEff", "0"), 16), int(reported.get("Seccomp", 0))
    return ProcessPrivileges(
        capabilities, seccomp, release_of(release), memlock, in_host_namespace("user", proc) is False
    )


def release_of(text: str) -> tuple[int, int]:
    """``(6, 18)`` for ``6.18.44-amd64``; ``(0, 0)`` if it is not a kernel release."""
    match = re.match(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def before_loading(privileges: ProcessPrivileges) -> LoadProblem | None:
    """What is certain to fail, before it is tried."""
    release = privileges.release
    if release < _OLDEST:
        return LoadProblem(
            Failure.KERNEL, f"kernel {release[0]}.{release[1]} is too old; use {_OLDEST[0]}.{_OLDEST[1]} or later"
        )
    missing = missing_capabilities(privileges)
    if missing:
        words = " and ".join(missing)
        return LoadProblem(Failure.RIGHTS, f"cannot load BPF programs: {words} missing; {_ALTERNATIVE}")
    return _memlock(privileges)


def raise_memlock(privileges: ProcessPrivileges) -> None:
    """Raise the limit before 5.11, where maps and programs count as locked memory, if the capability allows it."""
    if privileges.release < _NO_MEMLOCK:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def missing_capabilities(privileges: ProcessPrivileges) -> tuple[str, ...]:
    """The capabilities that loading and attaching needs but the process lacks."""
    needed = ("CAP_BPF", "CAP_PERFMON") if privileges.release >= _OWN_CAPABILITIES else ("CAP_SYS_ADMIN",)
    return tuple(name for name in needed if not privileges.may(name))


def after_load(program: str, number: int, privileges: ProcessPrivileges, log: str) -> LoadProblem:
    """Why ``program`` could not be loaded, errno being ``number``; ``log`` is the verifier's output.

    The verifier refuses with the same errno values as missing privileges do, but always gives its reasons.
    """
    reported = "" if _unable(number, privileges) else _last_words(log)
    if not reported:
        return after_refusal("bpf", number, privileges)
    remedy = "report it with the kernel's version (uname -r), or leave the probe out"
    if _HELPER_REFUSED.search(reported):
        remedy = (
            "check for kernel lockdown (/sys/kernel/security/lockdown), which disables helpers; otherwise " + remedy
        )
    return LoadProblem(Failure.VERIFIER, f"the kernel's verifier rejects the program {program} ({reported}); {remedy}")


def after_refusal(call: str, number: int, privileges: ProcessPrivileges, log: str = "") -> LoadProblem:
    """Why the system call ``call`` (``bpf`` or ``perf_event_open``) failed with errno ``number``.

    ``log``: the output meanwhile.
    """
    found = too_few_descriptors() if number == errno.EMFILE else _refusal(call, number, privileges)
    reported = _last_words(log)
    return LoadProblem(found.failure, f"{found.message} ({reported})") if reported else found


def refused_attach_type(found: LoadProblem, attach: str) -> LoadProblem:
    """``found`` for a program of type ``attach``, where programs of other types could be loaded by the same call.

    Neither seccomp nor lockdown distinguishes types; a kernel that lacks support for the type may also answer EPERM.
    """
    if found.failure not in (Failure.RIGHTS, Failure.SECCOMP):
        return found
    return LoadProblem(Failure.KERNEL, f"this kernel refuses {attach}; bpf(2) accepts all other programs")


def too_few_descriptors() -> LoadProblem:
    """The descriptor limit of this process, or of a child with the same limit, is reached."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    found = f"the probes need more than the {limit} file descriptors that this process may open; {MORE_DESCRIPTORS}"
    return LoadProblem(Failure.DESCRIPTORS, found)


def _refusal(call: str, number: int, privileges: ProcessPrivileges) -> LoadProblem:
    denied, certain = number in _DENIED, _unable(number, privileges)
    if certain:
        return certain
    if denied and privileges.confined:
        return LoadProblem(Failure.RIGHTS, f"{call}(2) is refused: {_CONFINED}")
    if denied and privileges.seccomp == _SECCOMP_FILTER:
        return LoadProblem(
            Failure.SECCOMP,
            f"{call}(2) is refused although the capabilities are present: a seccomp filter forbids it; "
            "allow bpf and perf_event_open in the profile, or use seccomp=unconfined (Kubernetes: seccompProfile "
            "Unconfined)",
        )
    if denied:
        return LoadProblem(
            Failure.RIGHTS,
            f"{call}(2) is refused although the capabilities are present; check for kernel lockdown "
            "(/sys/kernel/security/lockdown) or a rule of a security module",
        )
    if number == errno.ENOMEM and privileges.release < _NO_MEMLOCK:
        return _memlock(privileges) or LoadProblem(Failure.MEMLOCK, "no memory for BPF maps; lower max_map_memory")
    large = number in (errno.ENOMEM, errno.E2BIG) and call == "bpf"
    remedy = "; a map may be larger than this kernel allows: lower max_map_memory" if large else ""
    return LoadProblem(Failure.ATTACH, f"{call}(2) failed: {os.strerror(number)}{remedy}")


def no_tracefs(number: int, privileges: ProcessPrivileges) -> LoadProblem:
    """No tracefs is mounted, and mounting it failed with errno ``number``."""
    if number in _DENIED and privileges.confined:
        return LoadProblem(Failure.RIGHTS, f"tracefs is not mounted, and mounting it is refused: {_CONFINED}")
    lacking = "" if privileges.may("CAP_SYS_ADMIN") else " (CAP_SYS_ADMIN missing)"
    return LoadProblem(
        Failure.TRACEFS,
        f"tracefs is not mounted and cannot be mounted: {os.strerror(number)}{lacking}; run as root on the host: "
        f"{MOUNT_COMMAND}, and in a container mount the host's /sys/kernel/tracing",
    )


def no_bcc(cause: str, folder: str = "", how_to_make_visible: str = "") -> LoadProblem:
    """The BCC module could not be imported. ``folder``: where the system's Python has it, outside of this
    environment."""
    if _NO_DESCRIPTORS in cause:
        return too_few_descriptors()
    if folder:
        return LoadProblem(
            Failure.BCC,
            f"BCC for Python cannot be imported ({cause}): it is installed in {folder}, but this virtual environment "
            f"does not see it; {how_to_make_visible}",
        )
    return LoadProblem(
        Failure.BCC,
        f"BCC for Python cannot be imported ({cause}); install the package python3-bpfcc (Debian, Ubuntu) or "
        "python3-bcc (Fedora) for the Python that runs this; it is not on PyPI",
    )


def unreadable_tracefs(user: int, group: int, *, by_us: bool = False) -> LoadProblem:
    """Only root may read the files of tracefs. ``by_us``: it is mounted only by this process, privately."""
    seen, fix = "tracefs is mounted, but", f"run as root (runAsUser: 0), or as root: {remount_command(group)}"
    if by_us:
        seen = "tracefs is not mounted, and where this process mounts it privately,"
        fix = f"run as root: {mount_command(group)}, or grant CAP_DAC_READ_SEARCH as well"
    return LoadProblem(Failure.TRACEFS, f"{seen} user {user} may not read it; {fix}")


def compile_error(log: str, lines: int = 12) -> LoadProblem:
    """A probe does not compile; ``log`` is the compiler's output."""
    if _NO_DESCRIPTORS in log:
        return too_few_descriptors()
    last = [line for line in log.splitlines() if line.strip()][-lines:]
    return LoadProblem(Failure.COMPILE, "the probes do not compile; clang reported:\n" + "\n".join(last))


def from_log(log: str, privileges: ProcessPrivileges) -> LoadProblem | None:
    """The cause that BCC wrote to stderr when it could not create a map; None if the log does not mention maps."""
    match = re.search(r"could not open bpf map: (\S+), error: (.+)", log)
    if match is None:
        return None
    number = next((code for code in errno.errorcode if os.strerror(code) == match[2].strip()), errno.EINVAL)
    return after_refusal("bpf", number, privileges)


def _unable(number: int, privileges: ProcessPrivileges) -> LoadProblem | None:
    """The certain cause of failure, if errno ``number`` means a lack of permission."""
    return before_loading(privileges) if number in _DENIED else None


def _last_words(log: str) -> str:
    """The end of the verifier's or BCC's output, on one line; empty if it only says that loading failed."""
    lines = [line.strip() for line in log.splitlines() if line.strip() and not line.startswith(_NO_REASONS)]
    return " / ".join(lines[-_LOG_LINES:])


def strict_refusal(reasons: Sequence[str]) -> LoadProblem:
    """Not all hooks could be attached, and ``strict`` requires all."""
    absent = " and ".join(reasons)
    remedy = "turn strict off, or leave out the probe; ebpf-sidecar doctor shows what each hook needs"
    return LoadProblem(Failure.ATTACH, f"not every hook could be attached, and strict is on: {absent}; {remedy}")


def _memlock(privileges: ProcessPrivileges) -> LoadProblem | None:
    enough = privileges.memlock < 0 or privileges.memlock >= _MEMLOCK_NEEDED or privileges.may("CAP_SYS_RESOURCE")
    if privileges.release >= _NO_MEMLOCK or enough:
        return None
    return LoadProblem(
        Failure.MEMLOCK,
        f"the limit for locked memory is {privileges.memlock} bytes, too low for BPF maps on kernels before 5.11; "
        "grant CAP_SYS_RESOURCE or raise it (ulimit -l unlimited)",
    )
