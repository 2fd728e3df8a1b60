# SPDX-License-Identifier: Apache-2.0
"""Privileges of this process: capabilities, seccomp and security modules, sysctls, limits; and whether BCC is
usable."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence

from ebpf_sidecar.pipeline.checks import Finding, FindingVerdict
from ebpf_sidecar.receivers.ebpf.kernel.refusals import (
    LoadProblem,
    ProcessPrivileges,
    after_refusal,
    before_loading,
    no_bcc,
)
from ebpf_sidecar.receivers.ebpf.loader.bcc_package import how_to_make_visible

from .host_facts import HostFacts, Tracing
from .needs import EVERYTHING, Need, memlock_is_low, paranoid_forbids

_REFUSED = (errno.EPERM, errno.EACCES, errno.ENOSYS)
_FILTER = 2
_PARANOID = "sysctl -w kernel.perf_event_paranoid=2 on the host, or grant CAP_SYS_ADMIN"


def rights_findings(facts: HostFacts, needs: Sequence[Need], counting: str = "") -> Iterator[Finding]:
    """One line per capability, then what may refuse although the capabilities are present.

    ``counting``: the setting that asks for run statistics, if one does.
    """
    for need in needs:
        yield _capability(need, facts)
    if facts.namespaces.user is False:
        yield Finding(
            "rights",
            "user namespace",
            FindingVerdict.PROBLEM,
            "not the host's: capabilities have no effect outside of it",
            "run rootful (Kubernetes: hostUsers: true; docker: --userns=host)",
        )
    yield _seccomp(facts)
    yield _paranoid(facts, needs)
    yield _unprivileged(facts)
    yield _statistics(facts, counting)
    yield _memlock(facts)
    yield _bcc(facts)
    yield _kept(facts)


def _capability(need: Need, facts: HostFacts) -> Finding:
    name, short = need.capability, need.capability.removeprefix("CAP_")
    if facts.privileges.may(name):
        return Finding("rights", name, FindingVerdict.OK, f"present; needed {need.why}")
    fix = f"docker: --cap-add {short}, Kubernetes: securityContext.capabilities.add: [{short}], or run as root"
    if name == "CAP_SYS_ADMIN":
        fix = "better not granted; instead: " + " and ".join(_instead(facts))
    return Finding("rights", name, FindingVerdict.PROBLEM, f"missing; needed {need.why}", fix)


def _instead(facts: HostFacts) -> Iterator[str]:
    """What makes CAP_SYS_ADMIN unnecessary."""
    if facts.tracing is Tracing.NOT_MOUNTED:
        yield "have tracefs mounted (see kernel tracefs)"
    if paranoid_forbids(facts):
        yield "lower kernel.perf_event_paranoid (see rights perf_event_paranoid)"


def _seccomp(facts: HostFacts) -> Finding:
    privileges, name = facts.privileges, ("rights", "seccomp")
    shown = "a filter is in force" if privileges.seccomp == _FILTER else "no filter"
    if not (privileges.may("CAP_BPF") and privileges.may("CAP_PERFMON")):
        after = "; whether it allows bpf(2) is known once the capabilities are present"
        return Finding(*name, FindingVerdict.OK, shown + (after if privileges.seccomp == _FILTER else ""))
    refusal = next(_refusals(facts), None)
    if refusal:
        what, _, fix = refusal.message.partition("; ")
        return Finding(*name, FindingVerdict.PROBLEM, what, fix)
    tried = " and ".join(f"{call}(2)" for call in facts.system.answers)
    return Finding(*name, FindingVerdict.OK, f"{shown}; {tried} tried: not refused" if tried else shown)


def _refusals(facts: HostFacts) -> Iterator[LoadProblem]:
    """Why calls were refused although the capabilities are present."""
    known = ProcessPrivileges(EVERYTHING, facts.privileges.seccomp, facts.privileges.release)
    for call, number in facts.system.answers.items():
        by_sysctl = call == "perf_event_open" and paranoid_forbids(facts)
        if number in _REFUSED and not by_sysctl:
            # a filter may also answer that there is no such call
            yield after_refusal(call, errno.EPERM if known.seccomp == _FILTER else number, known)


def _paranoid(facts: HostFacts, needs: Sequence[Need]) -> Finding:
    name, value = ("rights", "perf_event_paranoid"), facts.sysctls.get("perf_event_paranoid")
    if not paranoid_forbids(facts):
        known = "unknown" if value is None else str(value)
        return Finding(*name, FindingVerdict.OK, f"{known}; it does not restrict CAP_PERFMON")
    found = f"{value}: this distribution's kernel requires CAP_SYS_ADMIN"
    if not any("perf_event_open" in reason for need in needs for reason in need.reasons):
        return Finding(*name, FindingVerdict.OK, f"{found}, but these probes do not use perf_event_open(2)")
    verdict = FindingVerdict.OK if facts.privileges.may("CAP_SYS_ADMIN") else FindingVerdict.PROBLEM
    return Finding(*name, verdict, found, _PARANOID)


def _unprivileged(facts: HostFacts) -> Finding:
    value = facts.sysctls.get("unprivileged_bpf_disabled")
    known = "unknown" if value is None else str(value)
    return Finding("rights", "unprivileged_bpf_disabled", FindingVerdict.OK, f"{known}; it does not restrict CAP_BPF")


def _statistics(facts: HostFacts, counting: str) -> Finding:
    """BPF_ENABLE_STATS needs CAP_SYS_ADMIN, which is too much to grant for it alone."""
    name = ("rights", "run statistics")
    if facts.privileges.may("CAP_SYS_ADMIN"):
        return Finding(*name, FindingVerdict.OK, "available (CAP_SYS_ADMIN is present)")
    if facts.sysctls.get("bpf_stats_enabled") == 1:
        return Finding(*name, FindingVerdict.OK, "permanently on (kernel.bpf_stats_enabled)")
    if counting:
        found = f"unavailable without CAP_SYS_ADMIN: {counting} has no effect"
        return Finding(*name, FindingVerdict.PROBLEM, found, "sysctl -w kernel.bpf_stats_enabled=1 on the host")
    found = "unavailable without CAP_SYS_ADMIN: the programs' run time, and whether some hooks fire, stay unknown"
    return Finding(
        *name, FindingVerdict.NOTE, found, "sysctl -w kernel.bpf_stats_enabled=1 on the host, if you need them"
    )


def _memlock(facts: HostFacts) -> Finding:
    name, limit = ("rights", "locked memory"), facts.system.memlock
    if not memlock_is_low(facts):
        shown = "unlimited" if limit < 0 else f"{limit} bytes"
        return Finding(
            *name, FindingVerdict.OK, f"{shown}; maps are charged to the cgroup" if _cgroup_pays(facts) else shown
        )
    if facts.privileges.may("CAP_SYS_RESOURCE"):
        return Finding(*name, FindingVerdict.OK, f"{limit} bytes, which CAP_SYS_RESOURCE can raise")
    fix = "ulimit -l unlimited (docker: --ulimit memlock=-1, systemd: LimitMEMLOCK=infinity), or grant CAP_SYS_RESOURCE"
    return Finding(*name, FindingVerdict.PROBLEM, f"{limit} bytes, too low for maps on kernels before 5.11", fix)


def _cgroup_pays(facts: HostFacts) -> bool:
    """Since 5.11 the limit does not matter, however low."""
    without = ProcessPrivileges((1 << 38) | (1 << 39), 0, facts.privileges.release, memlock=0)
    return before_loading(without) is None


def _kept(facts: HostFacts) -> Finding:
    """The capabilities that the running service keeps."""
    names = " and ".join(f"CAP_{name}" for name in facts.system.to_read) or "none"
    found = f"capabilities that the service keeps after startup: {names}"
    if facts.system.libseccomp:
        return Finding("rights", "kept", FindingVerdict.OK, found)
    fix = "install libseccomp2 (Debian, Ubuntu) or libseccomp (Fedora)"
    return Finding("rights", "kept", FindingVerdict.NOTE, f"{found}; its system calls are not filtered", fix)


def _bcc(facts: HostFacts) -> Finding:
    if facts.system.bcc.version:
        return Finding("BCC", "", FindingVerdict.OK, facts.system.bcc.version)
    bcc = facts.system.bcc
    what, _, fix = no_bcc(bcc.cause, bcc.folder, how_to_make_visible(bcc.folder)).message.partition("; ")
    return Finding("BCC", "", FindingVerdict.PROBLEM, what, fix)
