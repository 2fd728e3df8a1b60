# SPDX-License-Identifier: Apache-2.0
"""What the kernel offers: version, architecture, options, type information, tracefs, lockdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ebpf_sidecar.pipeline.checks import Finding, FindingVerdict
from ebpf_sidecar.receivers.ebpf.kernel.refusals import ProcessPrivileges, before_loading, unreadable_tracefs
from ebpf_sidecar.receivers.ebpf.kernel.syscall_table import syscall_table
from ebpf_sidecar.receivers.ebpf.kernel.tracefs import MOUNT_COMMAND
from ebpf_sidecar.receivers.ebpf.probe.model import Probe

from .host_facts import HostFacts, Tracing
from .kernel_config import NEEDED, USEFUL
from .needs import EVERYTHING, attach_points_of

_BUILT = "use a kernel built with {}=y, as distributions' kernels are"
_LOCKDOWN_OPTION = "CONFIG_SECURITY_LOCKDOWN_LSM"
_IN_CONTAINER = "in a container mount the host's /sys/kernel/tracing (see below)"


def kernel_findings(facts: HostFacts, probes: Sequence[Probe]) -> Iterator[Finding]:
    """One line per subject, and one for each missing option."""
    yield _version(facts)
    yield _architecture(facts)
    yield from _options(facts, probes)
    yield _types(facts, probes)
    yield _tracefs(facts)
    yield _lockdown(facts)


def _version(facts: HostFacts) -> Finding:
    certain = before_loading(ProcessPrivileges(EVERYTHING, 0, facts.privileges.release))
    if certain is None:
        return Finding("kernel", "version", FindingVerdict.OK, facts.system.release)
    what, _, remedy = certain.message.partition("; ")
    return Finding("kernel", "version", FindingVerdict.PROBLEM, f"{facts.system.release}: {what}", remedy)


def _architecture(facts: HostFacts) -> Finding:
    name, found = facts.system.machine, f"{facts.system.machine}, pages of {facts.system.page_bytes} bytes"
    try:
        syscall_table(name)
    except KeyError:
        fix = "use x86_64 or arm64; system call numbers of other architectures are not known"
        return Finding("kernel", "architecture", FindingVerdict.PROBLEM, found, fix)
    return Finding("kernel", "architecture", FindingVerdict.OK, found)


def _options(facts: HostFacts, probes: Sequence[Probe]) -> Iterator[Finding]:
    config = facts.config
    if config is None:
        found = "unknown: no /proc/config.gz, no /boot/config-" + facts.system.release
        fix = "modprobe configs on the host, or in a container mount the host's /boot; the hooks below show the same"
        yield Finding("kernel", "options", FindingVerdict.NOTE, found, fix)
        return
    needed = config.missing(NEEDED)
    if not needed:
        yield Finding("kernel", "options", FindingVerdict.OK, f"everything BPF needs ({config.source})")
    for name in needed:
        yield Finding("kernel", name, FindingVerdict.PROBLEM, f"not built in: {NEEDED[name]}", _BUILT.format(name))
    for name in config.missing(USEFUL):
        lost, concerns = USEFUL[name]
        users = [probe.name for probe in probes if any(concerns(point) for point in attach_points_of(probe))]
        if users:
            found = f"not built in: {lost} ({', '.join(users)})"
            yield Finding("kernel", name, FindingVerdict.NOTE, found, _BUILT.format(name))


def _types(facts: HostFacts, probes: Sequence[Probe]) -> Finding:
    if facts.types is not None:
        return Finding("kernel", "BTF", FindingVerdict.OK, "/sys/kernel/btf/vmlinux")
    users = [probe.name for probe in probes if any(point.btf for point in attach_points_of(probe))]
    if users:
        found, verdict = f"no /sys/kernel/btf/vmlinux: hooks of {', '.join(users)} need it", FindingVerdict.PROBLEM
    else:
        found, verdict = "no /sys/kernel/btf/vmlinux", FindingVerdict.NOTE
    return Finding("kernel", "BTF", verdict, found, "use a kernel built with CONFIG_DEBUG_INFO_BTF=y")


def _tracefs(facts: HostFacts) -> Finding:
    name = ("kernel", "tracefs")
    if facts.tracing is Tracing.READABLE and facts.tracefs is not None:
        return Finding(*name, FindingVerdict.OK, str(facts.tracefs.root))
    if facts.tracing in (Tracing.UNREADABLE, Tracing.HIDDEN):
        user, group = facts.system.user, facts.system.group
        refused = unreadable_tracefs(user, group, by_us=facts.tracing is Tracing.HIDDEN)
        what, _, fix = refused.message.partition("; ")
        return Finding(*name, FindingVerdict.PROBLEM, what.removeprefix("tracefs is "), fix)
    if facts.tracefs is not None:
        return Finding(*name, FindingVerdict.OK, "not mounted; the receiver mounts it privately, as this check did")
    if facts.tracing is Tracing.ABSENT:
        return Finding(
            *name, FindingVerdict.PROBLEM, "this kernel does not have it", "use a kernel built with CONFIG_TRACING=y"
        )
    if facts.privileges.may("CAP_SYS_ADMIN"):
        found = "not mounted; the receiver mounts it when it starts (CAP_SYS_ADMIN is present)"
        return Finding(*name, FindingVerdict.NOTE, found, f"to see the hooks below: {MOUNT_COMMAND}")
    fix = f"run as root on the host: {MOUNT_COMMAND}, and {_IN_CONTAINER}"
    return Finding(*name, FindingVerdict.PROBLEM, "not mounted, and cannot be mounted without CAP_SYS_ADMIN", fix)


def _lockdown(facts: HostFacts) -> Finding:
    if facts.lockdown == "confidentiality":
        found = "confidentiality: neither tracefs nor kernel memory may be read, whatever the capabilities"
        fix = "boot with lockdown=integrity (it cannot be lowered while running)"
        return Finding("kernel", "lockdown", FindingVerdict.PROBLEM, found, fix)
    if facts.lockdown:
        return Finding("kernel", "lockdown", FindingVerdict.OK, facts.lockdown)
    if facts.config and facts.config.missing([_LOCKDOWN_OPTION]):
        return Finding("kernel", "lockdown", FindingVerdict.OK, f"none: not built in ({_LOCKDOWN_OPTION})")
    found = "unknown; what it forbids would show in the calls tried here and in the hooks below"
    fix = "mount -t securityfs securityfs /sys/kernel/security on the host, in a container mount the host's"
    return Finding("kernel", "lockdown", FindingVerdict.NOTE, found, fix)
