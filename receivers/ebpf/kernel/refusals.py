# SPDX-License-Identifier: Apache-2.0
"""Why the kernel said no, in words that tell what to do. Pure: takes what is known of the process, touches nothing."""

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

from .namespaces import in_first
from .tracefs import MOUNT_COMMAND, mount_command, remount_command

_BITS = {"CAP_SYS_ADMIN": 21, "CAP_SYS_RESOURCE": 24, "CAP_PERFMON": 38, "CAP_BPF": 39}
_OLDEST = (5, 10)
_OWN_CAPABILITIES = (5, 8)  # CAP_BPF and CAP_PERFMON exist from here on
_NO_MEMLOCK = (5, 11)  # map memory is charged to the cgroup from here on
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
    "the capabilities count only in this user namespace; run rootful (Kubernetes: hostUsers: true; "
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
"""For labels: what became of a way into the kernel."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A cause and the message to show."""

    failure: Failure
    message: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What a process may do.

    ``capabilities``: the effective set as a bit mask. ``seccomp``: 0 none, 1 strict, 2 filter.
    ``memlock``: its limit in bytes, -1 for none. ``confined``: in a user namespace, outside of which its capabilities
    count for nothing.
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


def own_standing() -> Standing:
    """What our own process may do."""
    return standing_in(Path("/proc"), os.uname().release, resource.getrlimit(resource.RLIMIT_MEMLOCK)[0])


def standing_in(proc: Path, release: str, memlock: int) -> Standing:
    """What the process ``self`` below ``proc`` may do on a kernel called ``release``; nothing where that is unknown."""
    status = ""
    with suppress(OSError):
        status = (proc / "self" / "status").read_text(encoding="ascii", errors="replace")
    said = dict(re.findall(r"^(\w+):[ \t]*(\w+)", status, re.MULTILINE))
    capabilities, seccomp = int(said.get("CapEff", "0"), 16), int(said.get("Seccomp", 0))
    return Standing(capabilities, seccomp, release_of(release), memlock, in_first("user", proc) is False)


def release_of(text: str) -> tuple[int, int]:
    """``(6, 18)`` for ``6.18.44-amd64``; ``(0, 0)`` for what is no kernel release."""
    match = re.match(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def before_loading(standing: Standing) -> Diagnosis | None:
    """What is certain to fail, known before it is tried."""
    release = standing.release
    if release < _OLDEST:
        return Diagnosis(
            Failure.KERNEL, f"kernel {release[0]}.{release[1]} is too old; use {_OLDEST[0]}.{_OLDEST[1]} or later"
        )
    missing = missing_capabilities(standing)
    if missing:
        words = " and ".join(missing)
        return Diagnosis(Failure.RIGHTS, f"cannot load BPF programs: {words} missing; {_ALTERNATIVE}")
    return _memlock(standing)


def raise_memlock(standing: Standing) -> None:
    """Before 5.11, maps and programs count as locked memory; with the capability, the limit is ours to lift."""
    if standing.release < _NO_MEMLOCK:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def missing_capabilities(standing: Standing) -> tuple[str, ...]:
    """The capabilities that loading and attaching needs and the process lacks."""
    needed = ("CAP_BPF", "CAP_PERFMON") if standing.release >= _OWN_CAPABILITIES else ("CAP_SYS_ADMIN",)
    return tuple(name for name in needed if not standing.may(name))


def after_load(program: str, number: int, standing: Standing, log: str) -> Diagnosis:
    """Why ``program`` could not be loaded, errno being ``number``; ``log`` is what BCC wrote meanwhile.

    The verifier refuses with the same errno values as a lack of rights does, but never without giving its reasons.
    """
    said = "" if _unable(number, standing) else _last_words(log)
    if not said:
        return after_refusal("bpf", number, standing)
    remedy = "report it with the kernel's version (uname -r), or leave the probe out"
    if _HELPER_REFUSED.search(said):
        remedy = "look for kernel lockdown (/sys/kernel/security/lockdown), which takes helpers away; else " + remedy
    return Diagnosis(Failure.VERIFIER, f"the kernel's verifier refuses the program {program} ({said}); {remedy}")


def after_refusal(call: str, number: int, standing: Standing, log: str = "") -> Diagnosis:
    """Why the system call ``call`` (``bpf`` or ``perf_event_open``) failed with errno ``number``.

    ``log``: what BCC wrote meanwhile.
    """
    found = too_few_descriptors() if number == errno.EMFILE else _refusal(call, number, standing)
    said = _last_words(log)
    return Diagnosis(found.failure, f"{found.message} ({said})") if said else found


def refused_way(found: Diagnosis, attach: str) -> Diagnosis:
    """``found`` for a program of the type ``attach``, when programs of other types were loaded by the same call.

    Neither seccomp nor lockdown tells the types apart; a kernel that lacks what the type needs may answer EPERM, too.
    """
    if found.failure not in (Failure.RIGHTS, Failure.SECCOMP):
        return found
    return Diagnosis(Failure.KERNEL, f"this kernel refuses {attach}; bpf(2) lets all other programs in")


def too_few_descriptors() -> Diagnosis:
    """The limit of this process, or of a child with the same limit, is used up."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    found = f"the probes need more descriptors than the {limit} that this process may have; {MORE_DESCRIPTORS}"
    return Diagnosis(Failure.DESCRIPTORS, found)


def _refusal(call: str, number: int, standing: Standing) -> Diagnosis:
    denied, certain = number in _DENIED, _unable(number, standing)
    if certain:
        return certain
    if denied and standing.confined:
        return Diagnosis(
            Failure.RIGHTS,
            f"{call}(2) is refused: {_CONFINED}",
        )
    if denied and standing.seccomp == _SECCOMP_FILTER:
        return Diagnosis(
            Failure.SECCOMP,
            f"{call}(2) is refused although the capabilities are there: a seccomp filter forbids it; "
            "allow bpf and perf_event_open in the profile, or use seccomp=unconfined (Kubernetes: seccompProfile "
            "Unconfined)",
        )
    if denied:
        return Diagnosis(
            Failure.RIGHTS,
            f"{call}(2) is refused although the capabilities are there; look for kernel lockdown "
            "(/sys/kernel/security/lockdown) or a security module's rule",
        )
    if number == errno.ENOMEM and standing.release < _NO_MEMLOCK:
        return _memlock(standing) or Diagnosis(Failure.MEMLOCK, "no memory for BPF maps; lower max_map_memory")
    large = number in (errno.ENOMEM, errno.E2BIG) and call == "bpf"
    remedy = "; a map may be larger than this kernel can make: lower max_map_memory" if large else ""
    return Diagnosis(Failure.ATTACH, f"{call}(2) failed: {os.strerror(number)}{remedy}")


def no_tracefs(number: int, standing: Standing) -> Diagnosis:
    """No tracefs is mounted, and mounting it failed with errno ``number``."""
    if number in _DENIED and standing.confined:
        return Diagnosis(Failure.RIGHTS, f"tracefs is not mounted, and mounting it is refused: {_CONFINED}")
    lacking = "" if standing.may("CAP_SYS_ADMIN") else " (CAP_SYS_ADMIN missing)"
    return Diagnosis(
        Failure.TRACEFS,
        f"tracefs is not mounted and cannot be mounted: {os.strerror(number)}{lacking}; run as root on the host: "
        f"{MOUNT_COMMAND}, and in a container mount the host's /sys/kernel/tracing",
    )


def no_bcc(cause: str, folder: str = "", how_to_see: str = "") -> Diagnosis:
    """The BCC module could not be imported. ``folder``: where the system's Python has it, which we do not see."""
    if _NO_DESCRIPTORS in cause:
        return too_few_descriptors()
    if folder:
        return Diagnosis(
            Failure.BCC,
            f"BCC for Python cannot be imported ({cause}): it is installed in {folder}, but this virtual environment "
            f"does not see it; {how_to_see}",
        )
    return Diagnosis(
        Failure.BCC,
        f"BCC for Python cannot be imported ({cause}); install the package python3-bpfcc (Debian, Ubuntu) or "
        "python3-bcc (Fedora) for the Python that runs this, it is not on PyPI",
    )


def unreadable_tracefs(user: int, group: int, *, by_us: bool = False) -> Diagnosis:
    """The files of tracefs are open to root alone. ``by_us``: nobody has mounted it but this process, for itself."""
    seen, fix = "tracefs is mounted, but", f"run as root (runAsUser: 0), or as root: {remount_command(group)}"
    if by_us:
        seen = "tracefs is not mounted, and where this process mounts it for itself alone,"
        fix = f"run as root: {mount_command(group)}, or grant CAP_DAC_READ_SEARCH as well"
    return Diagnosis(Failure.TRACEFS, f"{seen} user {user} may not read it; {fix}")


def compile_error(log: str, lines: int = 12) -> Diagnosis:
    """The compiler did not like a probe; ``log`` is what it wrote."""
    if _NO_DESCRIPTORS in log:
        return too_few_descriptors()
    last = [line for line in log.splitlines() if line.strip()][-lines:]
    return Diagnosis(Failure.COMPILE, "the probes do not compile; clang said:\n" + "\n".join(last))


def from_log(log: str, standing: Standing) -> Diagnosis | None:
    """The cause that BCC wrote to stderr when it could not make a map; None when the log says nothing of maps."""
    match = re.search(r"could not open bpf map: (\S+), error: (.+)", log)
    if match is None:
        return None
    number = next((code for code in errno.errorcode if os.strerror(code) == match[2].strip()), errno.EINVAL)
    return after_refusal("bpf", number, standing)


def _unable(number: int, standing: Standing) -> Diagnosis | None:
    """What was certain to fail, where errno ``number`` says that something is not allowed."""
    return before_loading(standing) if number in _DENIED else None


def _last_words(log: str) -> str:
    """The end of what the verifier or BCC wrote, on one line; empty where it is only that loading failed."""
    lines = [line.strip() for line in log.splitlines() if line.strip() and not line.startswith(_NO_REASONS)]
    return " / ".join(lines[-_LOG_LINES:])


def strict_refusal(reasons: Sequence[str]) -> Diagnosis:
    """Not everything could be attached, and the user asked for everything."""
    absent = " and ".join(reasons)
    remedy = "turn strict off to go on without, or leave out the probe; ebpf-sidecar doctor tells what each hook needs"
    return Diagnosis(Failure.ATTACH, f"not every hook could be attached, and strict is on: {absent}; {remedy}")


def _memlock(standing: Standing) -> Diagnosis | None:
    enough = standing.memlock < 0 or standing.memlock >= _MEMLOCK_NEEDED or standing.may("CAP_SYS_RESOURCE")
    if standing.release >= _NO_MEMLOCK or enough:
        return None
    return Diagnosis(
        Failure.MEMLOCK,
        f"the limit for locked memory is {standing.memlock} bytes, too low for BPF maps on kernels before 5.11; "
        "grant CAP_SYS_RESOURCE or raise it (ulimit -l unlimited)",
    )
