# SPDX-License-Identifier: Apache-2.0
"""What this process may do: capabilities, seccomp and security modules, sysctls, limits; and BCC, which does it."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence

from ebpf_sidecar.pipeline.checks import Finding, Verdict
from ebpf_sidecar.receivers.ebpf.kernel.refusals import Diagnosis, Standing, after_refusal, before_loading, no_bcc
from ebpf_sidecar.receivers.ebpf.loader.bcc_package import how_to_see

from .machine import Machine, Tracing
from .needs import EVERYTHING, Need, memlock_is_low, paranoid_forbids

_REFUSED = (errno.EPERM, errno.EACCES, errno.ENOSYS)
_FILTER = 2
_PARANOID = "sysctl -w kernel.perf_event_paranoid=2 on the host, or grant CAP_SYS_ADMIN"


def rights_findings(machine: Machine, needs: Sequence[Need], counting: str = "") -> Iterator[Finding]:
    """One line a capability, then what can refuse although the capabilities are there.

    ``counting``: the setting that asks for run statistics, if one does.
    """
    for need in needs:
        yield _capability(need, machine)
    if machine.namespaces.user is False:
        yield Finding(
            "rights",
            "user namespace",
            Verdict.PROBLEM,
            "not the host's: capabilities count for nothing outside of it",
            "run rootful (Kubernetes: hostUsers: true; docker: --userns=host)",
        )
    yield _seccomp(machine)
    yield _paranoid(machine, needs)
    yield _unprivileged(machine)
    yield _statistics(machine, counting)
    yield _memlock(machine)
    yield _bcc(machine)
    yield _kept(machine)


def _capability(need: Need, machine: Machine) -> Finding:
    name, short = need.capability, need.capability.removeprefix("CAP_")
    if machine.standing.may(name):
        return Finding("rights", name, Verdict.OK, f"there; needed {need.why}")
    fix = f"docker: --cap-add {short}, Kubernetes: securityContext.capabilities.add: [{short}], or run as root"
    if name == "CAP_SYS_ADMIN":
        fix = "not to be granted, if it can be helped: " + " and ".join(_instead(machine))
    return Finding("rights", name, Verdict.PROBLEM, f"missing; needed {need.why}", fix)


def _instead(machine: Machine) -> Iterator[str]:
    """What makes CAP_SYS_ADMIN needless."""
    if machine.tracing is Tracing.NOT_MOUNTED:
        yield "have tracefs mounted (see kernel tracefs)"
    if paranoid_forbids(machine):
        yield "lower kernel.perf_event_paranoid (see rights perf_event_paranoid)"


def _seccomp(machine: Machine) -> Finding:
    standing, name = machine.standing, ("rights", "seccomp")
    shown = "a filter is in force" if standing.seccomp == _FILTER else "no filter"
    if not (standing.may("CAP_BPF") and standing.may("CAP_PERFMON")):
        after = "; whether it lets bpf(2) through is known once the capabilities are there"
        return Finding(*name, Verdict.OK, shown + (after if standing.seccomp == _FILTER else ""))
    refusal = next(_refusals(machine), None)
    if refusal:
        what, _, fix = refusal.message.partition("; ")
        return Finding(*name, Verdict.PROBLEM, what, fix)
    tried = " and ".join(f"{call}(2)" for call in machine.system.answers)
    return Finding(*name, Verdict.OK, f"{shown}; {tried} tried: not refused" if tried else shown)


def _refusals(machine: Machine) -> Iterator[Diagnosis]:
    """Why calls were refused although the capabilities are there."""
    known = Standing(EVERYTHING, machine.standing.seccomp, machine.standing.release)
    for call, number in machine.system.answers.items():
        by_sysctl = call == "perf_event_open" and paranoid_forbids(machine)
        if number in _REFUSED and not by_sysctl:
            # a filter may also answer that there is no such call
            yield after_refusal(call, errno.EPERM if known.seccomp == _FILTER else number, known)


def _paranoid(machine: Machine, needs: Sequence[Need]) -> Finding:
    name, value = ("rights", "perf_event_paranoid"), machine.sysctls.get("perf_event_paranoid")
    if not paranoid_forbids(machine):
        known = "unknown" if value is None else str(value)
        return Finding(*name, Verdict.OK, f"{known}; CAP_PERFMON is not bound by it")
    found = f"{value}: this distribution's kernel asks for CAP_SYS_ADMIN"
    if not any("perf_event_open" in reason for need in needs for reason in need.reasons):
        return Finding(*name, Verdict.OK, f"{found}, but these probes do without perf_event_open(2)")
    verdict = Verdict.OK if machine.standing.may("CAP_SYS_ADMIN") else Verdict.PROBLEM
    return Finding(*name, verdict, found, _PARANOID)


def _unprivileged(machine: Machine) -> Finding:
    value = machine.sysctls.get("unprivileged_bpf_disabled")
    known = "unknown" if value is None else str(value)
    return Finding("rights", "unprivileged_bpf_disabled", Verdict.OK, f"{known}; CAP_BPF is not bound by it")


def _statistics(machine: Machine, counting: str) -> Finding:
    """BPF_ENABLE_STATS takes CAP_SYS_ADMIN, which is too much to give for it alone."""
    name = ("rights", "run statistics")
    if machine.standing.may("CAP_SYS_ADMIN"):
        return Finding(*name, Verdict.OK, "can be asked for (CAP_SYS_ADMIN is there)")
    if machine.sysctls.get("bpf_stats_enabled") == 1:
        return Finding(*name, Verdict.OK, "switched on for good (kernel.bpf_stats_enabled)")
    if counting:
        found = f"unavailable without CAP_SYS_ADMIN: {counting} has no effect"
        return Finding(*name, Verdict.PROBLEM, found, "sysctl -w kernel.bpf_stats_enabled=1 on the host")
    found = "unavailable without CAP_SYS_ADMIN: what programs cost, and whether some hooks fire, stays unknown"
    return Finding(*name, Verdict.NOTE, found, "sysctl -w kernel.bpf_stats_enabled=1 on the host, if that is missed")


def _memlock(machine: Machine) -> Finding:
    name, limit = ("rights", "locked memory"), machine.system.memlock
    if not memlock_is_low(machine):
        shown = "unlimited" if limit < 0 else f"{limit} bytes"
        return Finding(*name, Verdict.OK, f"{shown}; the cgroup pays for maps" if _cgroup_pays(machine) else shown)
    if machine.standing.may("CAP_SYS_RESOURCE"):
        return Finding(*name, Verdict.OK, f"{limit} bytes, which CAP_SYS_RESOURCE lifts")
    fix = "ulimit -l unlimited (docker: --ulimit memlock=-1, systemd: LimitMEMLOCK=infinity), or grant CAP_SYS_RESOURCE"
    return Finding(*name, Verdict.PROBLEM, f"{limit} bytes, too low for maps on kernels before 5.11", fix)


def _cgroup_pays(machine: Machine) -> bool:
    """From 5.11 on the limit does not matter, however low."""
    without = Standing((1 << 38) | (1 << 39), 0, machine.standing.release, memlock=0)
    return before_loading(without) is None


def _kept(machine: Machine) -> Finding:
    """What the running service is left with."""
    names = " and ".join(f"CAP_{name}" for name in machine.system.to_read) or "none"
    found = f"once it has started the service keeps of its capabilities: {names}"
    if machine.system.libseccomp:
        return Finding("rights", "kept", Verdict.OK, found)
    fix = "install libseccomp2 (Debian, Ubuntu) or libseccomp (Fedora)"
    return Finding("rights", "kept", Verdict.NOTE, f"{found}; no system call is refused to it", fix)


def _bcc(machine: Machine) -> Finding:
    if machine.system.bcc.version:
        return Finding("BCC", "", Verdict.OK, machine.system.bcc.version)
    bcc = machine.system.bcc
    what, _, fix = no_bcc(bcc.cause, bcc.folder, how_to_see(bcc.folder)).message.partition("; ")
    return Finding("BCC", "", Verdict.PROBLEM, what, fix)
