# SPDX-License-Identifier: Apache-2.0
"""Which capabilities the configured probes need on this machine, and why: capabilities(7), and the kernel's checks.

``is_perfmon_prog_type`` in kernel/bpf/syscall.c lists tracepoint, raw tracepoint, kprobe and tracing programs: loading
one takes CAP_BPF and CAP_PERFMON. ``perf_event_open`` asks for CAP_PERFMON again (perf_allow_tracepoint,
perf_allow_cpu, perf_kprobe_event_init), as do the helpers that read kernel memory. CAP_SYS_ADMIN includes both, and
much more.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ebpf_sidecar.receivers.ebpf.kernel.refusals import Failure, ProcessPrivileges, before_loading
from ebpf_sidecar.receivers.ebpf.loader.attaching import BY_BPF
from ebpf_sidecar.receivers.ebpf.probe.model import AttachPoint, Probe

from .host_facts import HostFacts, Tracing

EVERYTHING = -1
"""A capability mask with all bits set."""

_MAPS = "to make maps and load programs"
_PARANOID = 2  # the highest value in mainline Linux; Debian and Ubuntu added 3 and 4
_ATTACHING = {
    "tracepoint": "to attach to tracepoints through perf_event_open(2)",
    "raw_tracepoint": "to load raw tracepoint programs, which read kernel memory",
    "kprobe": "to attach kprobes through perf_event_open(2)",
    "kretprobe": "to attach kprobes through perf_event_open(2)",
    "fentry": "to load programs at functions, which read kernel memory",
    "fexit": "to load programs at functions, which read kernel memory",
    "perf_event": "to count events of all processes through perf_event_open(2)",
}


@dataclass(frozen=True, slots=True)
class Need:
    """A capability and, for each reason, the probes that need it."""

    capability: str
    reasons: Mapping[str, tuple[str, ...]]

    @property
    def why(self) -> str:
        """In words."""
        return "; ".join(f"{reason} ({', '.join(probes)})" for reason, probes in self.reasons.items())


def needs_of(probes: Iterable[Probe], facts: HostFacts) -> tuple[Need, ...]:
    """The capabilities that loading and attaching ``probes`` needs on this machine."""
    kinds = {probe.name: _kinds(probe) for probe in probes}
    names = tuple(kinds)
    needs = [Need("CAP_BPF", {_MAPS: names}), Need("CAP_PERFMON", _attaching(kinds))]
    if admin := _admin(facts, kinds):
        needs.append(Need("CAP_SYS_ADMIN", admin))
    if memlock_is_low(facts):
        reason = "to raise the limit for locked memory, which is too low for maps"
        needs.append(Need("CAP_SYS_RESOURCE", {reason: names}))
    return tuple(needs)


def memlock_is_low(facts: HostFacts) -> bool:
    """Whether maps would exceed the limit for locked memory without CAP_SYS_RESOURCE."""
    rights = (1 << 38) | (1 << 39)  # CAP_PERFMON and CAP_BPF
    privileges = ProcessPrivileges(rights, 0, facts.privileges.release, facts.system.memlock)
    certain = before_loading(privileges)
    return certain is not None and certain.failure is Failure.MEMLOCK


def paranoid_forbids(facts: HostFacts) -> bool:
    """Whether perf_event_open is refused to CAP_PERFMON.

    Debian's and Ubuntu's kernels do so from 3 or 4 on, before looking at the request; mainline Linux answers an empty
    request with EFAULT whatever the value.
    """
    value = facts.sysctls.get("perf_event_paranoid", _PARANOID)
    return value > _PARANOID and facts.system.answers.get("perf_event_open") == errno.EACCES


def _kinds(probe: Probe) -> Mapping[str, None]:
    """The kinds of attach points that the probe may use."""
    return dict.fromkeys(point.attach for point in attach_points_of(probe))


def attach_points_of(probe: Probe) -> Iterator[AttachPoint]:
    """All attach points of all its hooks."""
    return (point for hook in probe.hooks for point in hook.alternatives)


def _attaching(kinds: Mapping[str, Mapping[str, None]]) -> Mapping[str, tuple[str, ...]]:
    reasons: dict[str, dict[str, None]] = {}
    for name, each in kinds.items():
        for kind in each:
            reasons.setdefault(_ATTACHING[kind], {})[name] = None
    return {reason: tuple(names) for reason, names in reasons.items()}


def _admin(facts: HostFacts, kinds: Mapping[str, Mapping[str, None]]) -> Mapping[str, tuple[str, ...]]:
    reasons = {}
    if facts.tracing in (Tracing.NOT_MOUNTED, Tracing.HIDDEN):
        reasons["to mount tracefs"] = tuple(kinds)  # all look up their events there
    opening = tuple(name for name, each in kinds.items() if each.keys() - set(BY_BPF))
    if opening and paranoid_forbids(facts):
        value = facts.sysctls["perf_event_paranoid"]
        reasons[f"for perf_event_open(2) while this distribution's kernel.perf_event_paranoid is {value}"] = opening
    return reasons
