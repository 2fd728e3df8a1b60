# SPDX-License-Identifier: Apache-2.0
"""What the doctor reports about kernels."""

import gzip
from dataclasses import replace

import pytest

from ebpf_sidecar.pipeline.checks import FindingVerdict
from ebpf_sidecar.receivers.ebpf.doctor.examination import examine_host
from ebpf_sidecar.receivers.ebpf.doctor.host_facts import Tracing
from ebpf_sidecar.receivers.ebpf.doctor.kernel_config import NEEDED, USEFUL
from ebpf_sidecar.receivers.ebpf.settings import EbpfSettings

LOCKDOWN = ("kernel", "lockdown")
TRACEFS = ("kernel", "tracefs")
OPTIONS = ("kernel", "options")


def test_root_on_a_new_host_has_no_problem(host):
    """Nor anything to be noted, and every line says what was found."""
    findings = host.examine().examination.findings

    assert {FindingVerdict.OK} == {each.verdict for each in findings}
    assert all(each.found and not each.fix for each in findings)


def test_every_subject_is_named_once(host):
    """Machines look lines up by area and subject."""
    names = [(each.area, each.subject) for each in host.examine().examination.findings]

    assert sorted(set(names)) == sorted(names)


def test_a_kernel_before_5_10_is_too_old(host):
    """The version is the problem; nothing is blamed that newer kernels have as well."""
    seen = host.on(release="4.18.0-553.el8_10.x86_64").examine()

    assert "4.18.0-553.el8_10.x86_64: kernel 4.18 is too old" == seen["kernel", "version"].found
    assert "use 5.10 or later" == seen["kernel", "version"].fix
    assert {"kernel version"} == seen.problems


def test_arm64_with_large_pages_is_fine(host):
    """Page size is shown, because pages are the unit of the page cache's metrics."""
    seen = host.on(machine="aarch64", page_bytes=65536).examine()

    assert "aarch64, pages of 65536 bytes" == seen["kernel", "architecture"].found
    assert set() == seen.problems


def test_other_architectures_are_named(host):
    """Their numbers of system calls are not known."""
    seen = host.on(machine="riscv64").examine()

    assert {"kernel architecture"} == seen.problems
    assert seen["kernel", "architecture"].fix.startswith("use x86_64 or arm64")


def test_an_option_that_everything_needs_is_a_problem(host):
    """Also when it is a module, which none of them can be."""
    seen = {option: with_module(host, option).examine() for option in NEEDED}

    assert {option: {f"kernel {option}"} for option in NEEDED} == {
        option: each.problems for option, each in seen.items()
    }
    assert [] == [option for option, each in seen.items() if f"{option}=y" not in each["kernel", option].fix]


def with_module(host, option):
    """The host with a kernel that has one of the needed options as a module."""
    config = "".join(f"{name}={'m' if name == option else 'y'}\n" for name in NEEDED)
    return host.write("proc/config.gz", gzip.compress(config.encode()))


def test_an_option_that_something_is_lost_without_is_a_note(host):
    """Kprobes are one of several ways in."""
    config = "".join(f"{name}=y\n" for name in NEEDED)
    seen = host.write("proc/config.gz", gzip.compress(config.encode())).examine()

    assert FindingVerdict.NOTE == seen["kernel", "CONFIG_KPROBES"].verdict
    assert (
        "use a kernel built with CONFIG_KPROBES=y, as distributions' kernels are"
        == seen["kernel", "CONFIG_KPROBES"].fix
    )
    assert set() == seen.problems


@pytest.mark.parametrize(
    ("probe", "missed"),
    [
        ("page_cache", {"CONFIG_BPF_JIT", "CONFIG_KPROBES", "CONFIG_DEBUG_INFO_BTF"}),
        ("block_io", {"CONFIG_BPF_JIT", "CONFIG_DEBUG_INFO_BTF"}),
        ("syscalls", {"CONFIG_BPF_JIT"}),
        ("memory", {"CONFIG_BPF_JIT", "CONFIG_KPROBES", "CONFIG_MEMCG", "CONFIG_DEBUG_INFO_BTF"}),
        ("page_faults", {"CONFIG_BPF_JIT"}),
    ],
)
def test_a_missing_option_is_reported_for_the_probes_that_use_it(host, probe, missed):
    """What no configured probe uses is not mentioned."""
    host.write("proc/config.gz", gzip.compress("".join(f"{name}=y\n" for name in NEEDED).encode()))
    found = [each for each in host.examine(probes=[probe]).examination.findings if each.subject in USEFUL]

    assert missed == {each.subject for each in found}
    assert all(each.found.endswith(f"({probe})") for each in found)


@pytest.mark.parametrize("place", ["boot/config-6.18.44-amd64", "lib/modules/6.18.44-amd64/config"])
def test_the_options_are_also_found_where_distributions_put_them(host, place):
    """Debian in /boot, Fedora next to the modules."""
    host.remove("proc/config.gz").write(place, "".join(f"{name}=y\n" for name in NEEDED))

    assert place in host.examine()["kernel", "options"].found


@pytest.mark.parametrize(
    "damaged", [None, b"no gzip", gzip.compress(b"CONFIG_BPF=y\n")[:-6]], ids=["none", "other", "cut off"]
)
def test_unknown_options_are_no_problem(host, damaged):
    """The hooks show more than the options do."""
    host.remove("proc/config.gz")
    if damaged is not None:
        host.write("proc/config.gz", damaged)
    seen = host.examine()

    assert FindingVerdict.NOTE == seen[OPTIONS].verdict
    assert seen[OPTIONS].found.startswith("unknown: no /proc/config.gz")
    assert "modprobe configs" in seen[OPTIONS].fix


def test_without_btf_the_probes_that_need_it_are_named(host):
    """Block I/O reads requests, which only the kernel's types describe."""
    seen = host.remove("sys/kernel/btf/vmlinux").examine()

    assert "block_io" in seen["kernel", "BTF"].found
    assert "use a kernel built with CONFIG_DEBUG_INFO_BTF=y" == seen["kernel", "BTF"].fix
    assert "kernel BTF" in seen.problems


def test_without_btf_probes_that_do_not_need_it_go_on(host):
    """A note then, for owners on old cgroups."""
    seen = host.remove("sys/kernel/btf/vmlinux").examine(probes=["syscalls"])

    assert FindingVerdict.NOTE == seen["kernel", "BTF"].verdict
    assert set() == seen.problems


def test_without_tracefs_and_the_right_to_mount_it_the_command_is_given(without_tracefs):
    """The check mounts nothing; the hooks are then unknown."""
    seen = without_tracefs.process(("BPF", "PERFMON")).examine()

    assert "mount -t tracefs tracefs /sys/kernel/tracing" in seen[TRACEFS].fix
    assert {"kernel tracefs", "rights CAP_SYS_ADMIN"} == seen.problems
    assert FindingVerdict.NOTE == seen["hooks", ""].verdict


def test_tracefs_that_will_be_mounted_is_no_problem(without_tracefs):
    """Root's receiver does it."""
    seen = without_tracefs.examine()

    assert FindingVerdict.NOTE == seen[TRACEFS].verdict
    assert "the receiver mounts it" in seen[TRACEFS].found
    assert set() == seen.problems


def test_an_unreadable_tracefs_is_distinguished_from_an_unmounted_one(host):
    """It is open to root only, unless it is mounted otherwise."""
    machine = replace(host.on(user=65534, group=100).machine(), tracefs=None, tracing=Tracing.UNREADABLE)
    found = next(each for each in examine_host(EbpfSettings(), machine).findings if each.subject == "tracefs")

    assert (FindingVerdict.PROBLEM, "mounted, but user 65534 may not read it") == (found.verdict, found.found)
    assert found.fix.endswith("mount -o remount,mode=750,gid=100 /sys/kernel/tracing")


def test_a_tracefs_that_may_not_be_read_where_we_mount_it_is_a_problem(host):
    """Mounting alone helps no other user than root, whatever its capabilities for it."""
    machine = replace(host.on(user=65534, group=100).machine(), tracefs=None, tracing=Tracing.HIDDEN)
    found = next(each for each in examine_host(EbpfSettings(), machine).findings if each.subject == "tracefs")

    assert FindingVerdict.PROBLEM is found.verdict
    assert found.found.startswith("not mounted, and where this process mounts it privately, user 65534 may not")
    assert "mount -t tracefs -o mode=750,gid=100 tracefs /sys/kernel/tracing" in found.fix
    assert found.fix.endswith("or grant CAP_DAC_READ_SEARCH as well")


def test_a_tracefs_mounted_for_the_check_shows_the_hooks(host):
    """As the receiver mounts it; that no other process sees it is not a problem."""
    machine = replace(host.machine(), tracing=Tracing.NOT_MOUNTED)
    findings = examine_host(EbpfSettings(), machine).findings
    found = next(each for each in findings if each.subject == "tracefs")

    assert (FindingVerdict.OK, "") == (found.verdict, found.fix)
    assert found.found.startswith("not mounted; the receiver mounts it privately")
    assert any(each.area == "hook" for each in findings)


def test_a_tracefs_whose_folders_alone_can_be_read_cannot_be_read(host):
    """Its files are open to root only, whatever the mode that it is mounted with."""
    for file in (host.root / "sys/kernel/tracing/events").glob("*/*/format"):
        file.unlink()
        file.mkdir()  # which cannot be read either, not even by root

    assert Tracing.UNREADABLE is host.machine().tracing


def test_a_tracefs_without_visible_events_is_found_in_the_list_of_mounts(host):
    """As seen by users who may not read it."""
    assert Tracing.UNREADABLE is host.remove("sys/kernel/tracing/events").machine().tracing


def test_a_kernel_without_tracing_has_no_place_for_tracefs(without_tracefs):
    """Mounting cannot help then."""
    seen = without_tracefs.remove("sys/kernel/tracing").examine()

    assert "use a kernel built with CONFIG_TRACING=y" == seen[TRACEFS].fix


def test_lockdown_for_confidentiality_forbids_everything(host):
    """Integrity, which secure boot brings, does not."""
    seen = host.write("sys/kernel/security/lockdown", "none integrity [confidentiality]\n").examine()

    assert {"kernel lockdown"} == seen.problems
    assert "boot with lockdown=integrity" in seen[LOCKDOWN].fix


def test_unknown_lockdown_is_reported_as_unknown(host):
    """Containers do not see it."""
    config = "".join(f"{name}=y\n" for name in (*NEEDED, "CONFIG_SECURITY_LOCKDOWN_LSM"))
    seen = host.remove("sys/kernel/security").write("proc/config.gz", gzip.compress(config.encode())).examine()

    assert FindingVerdict.NOTE == seen[LOCKDOWN].verdict
    assert seen[LOCKDOWN].found.startswith("unknown")
    assert "mount -t securityfs securityfs /sys/kernel/security" in seen[LOCKDOWN].fix


def test_a_kernel_without_lockdown_locks_nothing_down(host):
    """Its options say so, wherever securityfs is."""
    finding = host.remove("sys/kernel/security").examine()[LOCKDOWN]

    assert (FindingVerdict.OK, "none: not built in (CONFIG_SECURITY_LOCKDOWN_LSM)") == (finding.verdict, finding.found)
