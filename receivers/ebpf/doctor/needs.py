# SPDX-License-Identifier: Apache-2.0
"""Which capabilities the configured probes need on this machine, and why: capabilities(7), and the kernel's checks.

``is_perfmon_prog_type`` in kernel/bpf/syscall.c lists tracepoint, raw tracepoint, kprobe and tracing programs: loading
one takes CAP_BPF and CAP_PERFMON. ``perf_event_open`` asks for CAP_PERFMON again (perf_allow_tracepoint,
perf_allow_cpu, perf_kprobe_event_init), as do the helpers that read kernel memory. CAP_SYS_ADMIN stands for both, and
for much else.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ebpf_sidecar.receivers.ebpf.kernel.refusals import Failure, Standing, before_loading
from ebpf_sidecar.receivers.ebpf.loader.attaching import BY_BPF
from ebpf_sidecar.receivers.ebpf.probe.model import Alternative, Probe

from .machine import Machine, Tracing

EVERYTHING = -1
"""A capability mask with all bits set."""

_MAPS = "to make maps and load programs"
_PARANOID = 2  # the highest value that Linux itself knows; Debian and Ubuntu have added 3 and 4
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
    """A capability, and for each reason the probes that have it."""

    capability: str
    reasons: Mapping[str, tuple[str, ...]]

    @property
    def why(self) -> str:
        """In words."""
        return "; ".join(f"{reason} ({', '.join(probes)})" for reason, probes in self.reasons.items())


def needs_of(probes: Iterable[Probe], machine: Machine) -> tuple[Need, ...]:
    """What loading and attaching ``probes`` takes on this machine."""
    kinds = {probe.name: _kinds(probe) for probe in probes}
    names = tuple(kinds)
    needs = [Need("CAP_BPF", {_MAPS: names}), Need("CAP_PERFMON", _attaching(kinds))]
    if admin := _admin(machine, kinds):
        needs.append(Need("CAP_SYS_ADMIN", admin))
    if memlock_is_low(machine):
        reason = "to raise the limit for locked memory, which is too low for maps"
        needs.append(Need("CAP_SYS_RESOURCE", {reason: names}))
    return tuple(needs)


def memlock_is_low(machine: Machine) -> bool:
    """Whether maps do not fit below the limit for locked memory, were it not for CAP_SYS_RESOURCE."""
    rights = (1 << 38) | (1 << 39)  # CAP_PERFMON and CAP_BPF
    standing = Standing(rights, 0, machine.standing.release, machine.system.memlock)
    certain = before_loading(standing)
    return certain is not None and certain.failure is Failure.MEMLOCK


def paranoid_forbids(machine: Machine) -> bool:
    """Whether perf_event_open is refused to CAP_PERFMON.

    Debian's and Ubuntu's kernels do so from 3 or 4 on, before they look at what is asked for; Linux itself answers an
    empty request with EFAULT whatever the value.
    """
    value = machine.sysctls.get("perf_event_paranoid", _PARANOID)
    return value > _PARANOID and machine.system.answers.get("perf_event_open") == errno.EACCES


def _kinds(probe: Probe) -> Mapping[str, None]:
    """The ways into the kernel that the probe may take."""
    return dict.fromkeys(way.attach for way in ways_of(probe))


def ways_of(probe: Probe) -> Iterator[Alternative]:
    """All ways into the kernel of all its hooks."""
    return (way for hook in probe.hooks for way in hook.alternatives)


def _attaching(kinds: Mapping[str, Mapping[str, None]]) -> Mapping[str, tuple[str, ...]]:
    reasons: dict[str, dict[str, None]] = {}
    for name, each in kinds.items():
        for kind in each:
            reasons.setdefault(_ATTACHING[kind], {})[name] = None
    return {reason: tuple(names) for reason, names in reasons.items()}


def _admin(machine: Machine, kinds: Mapping[str, Mapping[str, None]]) -> Mapping[str, tuple[str, ...]]:
    reasons = {}
    if machine.tracing in (Tracing.NOT_MOUNTED, Tracing.HIDDEN):
        reasons["to mount tracefs"] = tuple(kinds)  # all look their events up there
    opening = tuple(name for name, each in kinds.items() if each.keys() - set(BY_BPF))
    if opening and paranoid_forbids(machine):
        value = machine.sysctls["perf_event_paranoid"]
        reasons[f"for perf_event_open(2) while this distribution's kernel.perf_event_paranoid is {value}"] = opening
    return reasons
