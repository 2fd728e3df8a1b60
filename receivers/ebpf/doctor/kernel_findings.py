# SPDX-License-Identifier: Apache-2.0
"""What the kernel can do: version, architecture, options, type information, tracefs, lockdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ebpf_sidecar.pipeline.checks import Finding, Verdict
from ebpf_sidecar.receivers.ebpf.kernel.refusals import Standing, before_loading, unreadable_tracefs
from ebpf_sidecar.receivers.ebpf.kernel.syscall_table import syscall_table
from ebpf_sidecar.receivers.ebpf.kernel.tracefs import MOUNT_COMMAND
from ebpf_sidecar.receivers.ebpf.probe.model import Probe

from .kernel_config import NEEDED, USEFUL
from .machine import Machine, Tracing
from .needs import EVERYTHING, ways_of

_BUILT = "use a kernel built with {}=y, as distributions' kernels are"
_LOCKDOWN_OPTION = "CONFIG_SECURITY_LOCKDOWN_LSM"
_IN_CONTAINER = "in a container mount the host's /sys/kernel/tracing (see below)"


def kernel_findings(machine: Machine, probes: Sequence[Probe]) -> Iterator[Finding]:
    """One line a subject; the options that are missing have a line each."""
    yield _version(machine)
    yield _architecture(machine)
    yield from _options(machine, probes)
    yield _types(machine, probes)
    yield _tracefs(machine)
    yield _lockdown(machine)


def _version(machine: Machine) -> Finding:
    certain = before_loading(Standing(EVERYTHING, 0, machine.standing.release))
    if certain is None:
        return Finding("kernel", "version", Verdict.OK, machine.system.release)
    what, _, remedy = certain.message.partition("; ")
    return Finding("kernel", "version", Verdict.PROBLEM, f"{machine.system.release}: {what}", remedy)


def _architecture(machine: Machine) -> Finding:
    name, found = machine.system.machine, f"{machine.system.machine}, pages of {machine.system.page_bytes} bytes"
    try:
        syscall_table(name)
    except KeyError:
        fix = "use x86_64 or arm64; the numbers of system calls are not known for others"
        return Finding("kernel", "architecture", Verdict.PROBLEM, found, fix)
    return Finding("kernel", "architecture", Verdict.OK, found)


def _options(machine: Machine, probes: Sequence[Probe]) -> Iterator[Finding]:
    config = machine.config
    if config is None:
        found = "unknown: no /proc/config.gz, no /boot/config-" + machine.system.release
        fix = "modprobe configs on the host, or in a container mount the host's /boot; the hooks below tell as well"
        yield Finding("kernel", "options", Verdict.NOTE, found, fix)
        return
    needed = config.missing(NEEDED)
    if not needed:
        yield Finding("kernel", "options", Verdict.OK, f"all that BPF needs ({config.source})")
    for name in needed:
        yield Finding("kernel", name, Verdict.PROBLEM, f"not built in: {NEEDED[name]}", _BUILT.format(name))
    for name in config.missing(USEFUL):
        lost, concerns = USEFUL[name]
        users = [probe.name for probe in probes if any(concerns(way) for way in ways_of(probe))]
        if users:
            found = f"not built in: {lost} ({', '.join(users)})"
            yield Finding("kernel", name, Verdict.NOTE, found, _BUILT.format(name))


def _types(machine: Machine, probes: Sequence[Probe]) -> Finding:
    if machine.types is not None:
        return Finding("kernel", "BTF", Verdict.OK, "/sys/kernel/btf/vmlinux")
    users = [probe.name for probe in probes if any(way.btf for way in ways_of(probe))]
    if users:
        found, verdict = f"no /sys/kernel/btf/vmlinux: hooks of {', '.join(users)} need it", Verdict.PROBLEM
    else:
        found, verdict = "no /sys/kernel/btf/vmlinux", Verdict.NOTE
    return Finding("kernel", "BTF", verdict, found, "use a kernel built with CONFIG_DEBUG_INFO_BTF=y")


def _tracefs(machine: Machine) -> Finding:
    name = ("kernel", "tracefs")
    if machine.tracing is Tracing.READABLE and machine.tracefs is not None:
        return Finding(*name, Verdict.OK, str(machine.tracefs.root))
    if machine.tracing in (Tracing.UNREADABLE, Tracing.HIDDEN):
        user, group = machine.system.user, machine.system.group
        refused = unreadable_tracefs(user, group, by_us=machine.tracing is Tracing.HIDDEN)
        what, _, fix = refused.message.partition("; ")
        return Finding(*name, Verdict.PROBLEM, what.removeprefix("tracefs is "), fix)
    if machine.tracefs is not None:
        return Finding(*name, Verdict.OK, "not mounted; the receiver mounts it for itself alone, as this look did")
    if machine.tracing is Tracing.ABSENT:
        return Finding(*name, Verdict.PROBLEM, "this kernel has none", "use a kernel built with CONFIG_TRACING=y")
    if machine.standing.may("CAP_SYS_ADMIN"):
        found = "not mounted; the receiver mounts it when it starts (CAP_SYS_ADMIN is there)"
        return Finding(*name, Verdict.NOTE, found, f"to see the hooks below: {MOUNT_COMMAND}")
    fix = f"run as root on the host: {MOUNT_COMMAND}, and {_IN_CONTAINER}"
    return Finding(*name, Verdict.PROBLEM, "not mounted, and cannot be mounted without CAP_SYS_ADMIN", fix)


def _lockdown(machine: Machine) -> Finding:
    if machine.lockdown == "confidentiality":
        found = "confidentiality: neither tracefs nor kernel memory may be read, whatever the capabilities"
        fix = "boot with lockdown=integrity (it cannot be lowered while running)"
        return Finding("kernel", "lockdown", Verdict.PROBLEM, found, fix)
    if machine.lockdown:
        return Finding("kernel", "lockdown", Verdict.OK, machine.lockdown)
    if machine.config and machine.config.missing([_LOCKDOWN_OPTION]):
        return Finding("kernel", "lockdown", Verdict.OK, f"none: not built in ({_LOCKDOWN_OPTION})")
    found = "unknown; what it forbids would show in the calls that are tried and in the hooks below"
    fix = "mount -t securityfs securityfs /sys/kernel/security on the host, in a container mount the host's"
    return Finding("kernel", "lockdown", Verdict.NOTE, found, fix)
