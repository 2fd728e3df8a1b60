# SPDX-License-Identifier: Apache-2.0
"""What the doctor reports about what this process may do."""

import errno

import pytest

from ebpf_sidecar.pipeline.checks import FindingVerdict
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.receivers.ebpf.doctor.needs import _ATTACHING
from ebpf_sidecar.receivers.ebpf.doctor.open_files import descriptors_needed
from ebpf_sidecar.receivers.ebpf.doctor.system import Bcc
from ebpf_sidecar.receivers.ebpf.probe.file import find_probes, read_probe
from ebpf_sidecar.receivers.ebpf.probe.model import ATTACH_KINDS
from ebpf_sidecar.receivers.ebpf.settings import EbpfSettings

OPEN_FILES = ("rights", "open files")
MEMLOCK = ("rights", "locked memory")
SECCOMP = ("rights", "seccomp")
PARANOID = ("rights", "perf_event_paranoid")
OLD = "5.10.0-46-amd64"
REFUSED = {"bpf": errno.EPERM, "perf_event_open": errno.EPERM}


def test_two_capabilities_are_enough(host):
    """No CAP_SYS_ADMIN where tracefs is mounted, no CAP_SYS_RESOURCE on new kernels."""
    seen = host.process(("BPF", "PERFMON")).on(memlock=0).examine()

    assert set() == seen.problems


@pytest.mark.parametrize(
    ("left", "missing", "why"),
    [
        ("BPF", "PERFMON", "to load raw tracepoint programs, which read kernel memory (page_cache, syscalls); "),
        ("BPF", "PERFMON", "; to attach kprobes through perf_event_open(2) (page_cache); "),
        ("PERFMON", "BPF", "to make maps and load programs (page_cache, syscalls)"),
    ],
)
def test_a_missing_capability_is_named_with_its_reason_and_its_probes(host, left, missing, why):
    """And how to give it."""
    seen = host.process((left,)).examine(probes=["page_cache", "syscalls"])
    finding = seen["rights", f"CAP_{missing}"]

    assert {f"rights CAP_{missing}"} == seen.problems
    assert finding.found.startswith("missing; needed ")
    assert why in finding.found
    assert finding.fix.startswith(
        f"docker: --cap-add {missing}, Kubernetes: securityContext.capabilities.add: [{missing}]"
    )


def test_cap_sys_admin_includes_both(host):
    """As it did before 5.8."""
    assert set() == host.process(("SYS_ADMIN",)).examine().problems


def test_only_probes_that_use_perf_events_give_them_as_the_reason(host):
    """Block I/O has raw tracepoints alone."""
    reason = host.examine(probes=["block_io"])["rights", "CAP_PERFMON"].found

    assert "raw tracepoint" in reason
    assert "perf_event_open" not in reason


def test_each_way_into_the_kernel_has_its_own_reason(host):
    """A probe has the reasons of the ways that it may take, and no other."""
    reason = host.examine(probes=["page_faults"])["rights", "CAP_PERFMON"].found

    assert "present; needed to count events of all processes through perf_event_open(2) (page_faults)" == reason
    assert set(ATTACH_KINDS) == set(_ATTACHING)


def test_everything_that_a_container_with_dockers_defaults_lacks_is_reported(container):
    """The filter is not blamed: it lets through what the capabilities allow."""
    seen = container.examine()
    expected = {
        "kernel tracefs",
        "rights CAP_BPF",
        "rights CAP_PERFMON",
        "rights CAP_SYS_ADMIN",
        "cgroup view",
    }

    assert expected == seen.problems
    assert "known once the capabilities are present" in seen[SECCOMP].found
    assert seen["rights", "CAP_SYS_ADMIN"].fix.startswith("better not granted; instead: have tracefs mounted")


@pytest.mark.parametrize("call", ["bpf", "perf_event_open"])
@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS])
def test_a_filter_that_refuses_although_the_rights_are_there_is_blamed(host, call, number):
    """Some filters answer that there is no such call."""
    answers = {**host.system.answers, call: number}
    seen = host.process(("BPF", "PERFMON"), seccomp=2).on(answers=answers).examine()

    assert {"rights seccomp"} == seen.problems
    assert (
        f"{call}(2) is refused although the capabilities are present: a seccomp filter forbids it"
        == seen[SECCOMP].found
    )
    assert "seccompProfile Unconfined" in seen[SECCOMP].fix


def test_a_refusal_without_a_filter_is_the_security_modules(host):
    """SELinux, AppArmor and lockdown refuse as well."""
    seen = host.on(answers=REFUSED).examine()

    assert "security module" in seen[SECCOMP].fix


def test_a_filter_that_lets_the_calls_through_is_fine(host):
    """It is reported that it was tried."""
    seen = host.process(("BPF", "PERFMON"), seccomp=2).examine()

    assert "a filter is in force; bpf(2) and perf_event_open(2) tried: not refused" == seen[SECCOMP].found
    assert set() == seen.problems


def test_ubuntus_perf_event_paranoid_requires_cap_sys_admin(host):
    """It refuses an empty request with EACCES; Linux itself never does."""
    host.write("proc/sys/kernel/perf_event_paranoid", "4\n").process(("BPF", "PERFMON"))
    seen = host.on(answers={"bpf": errno.EINVAL, "perf_event_open": errno.EACCES}).examine()

    assert {"rights CAP_SYS_ADMIN", "rights perf_event_paranoid"} == seen.problems
    assert seen[PARANOID].fix.startswith("sysctl -w kernel.perf_event_paranoid=2")
    assert seen["rights", "CAP_SYS_ADMIN"].found.endswith("perf_event_paranoid is 4 (page_cache, syscalls)")


def test_perf_event_paranoid_does_not_matter_to_probes_that_open_no_perf_events(host):
    """Raw tracepoints alone."""
    host.write("proc/sys/kernel/perf_event_paranoid", "4\n").process(("BPF", "PERFMON"))
    seen = host.on(answers={"bpf": errno.EINVAL, "perf_event_open": errno.EACCES}).examine(probes=["block_io"])

    assert set() == seen.problems
    assert seen[PARANOID].found.endswith("but these probes do not use perf_event_open(2)")


def test_a_high_perf_event_paranoid_that_does_not_refuse_is_fine(host):
    """Root has CAP_SYS_ADMIN."""
    seen = host.write("proc/sys/kernel/perf_event_paranoid", "4\n").examine()

    assert "4; it does not restrict CAP_PERFMON" == seen[PARANOID].found
    assert set() == seen.problems


def probes(*names):
    """Packaged ones."""
    files = find_probes(Plugins().probe_folders())
    return [read_probe(files[name]) for name in names]


def test_too_few_descriptors_are_a_problem_before_anything_is_loaded(host):
    """By the limit that the service can give itself, and as many as are enough."""
    needed = descriptors_needed(probes(*EbpfSettings().probes), 1)
    few, enough = host.on(open_files=needed - 1).examine(), host.on(open_files=needed).examine()

    assert ({"rights open files"}, set()) == (few.problems, enough.problems)
    assert f"{needed - 1} descriptors; these probes need up to {needed}" == few[OPEN_FILES].found
    assert few[OPEN_FILES].fix.startswith("raise the limit (ulimit -n 65536, systemd: ")
    assert 100 < needed < 1024  # what a shell gives


def test_perf_events_take_a_descriptor_for_each_processor():
    """Page faults are counted so, by two hooks."""
    page_faults, cached = probes("page_faults"), probes("page_cache")

    assert 2 * 63 == descriptors_needed(page_faults, 64) - descriptors_needed(page_faults, 1)
    assert descriptors_needed(cached, 64) == descriptors_needed(cached, 1)


def test_low_memlock_matters_before_5_11(host):
    """And CAP_SYS_RESOURCE, which lifts it, is named as needed."""
    seen = host.process(("BPF", "PERFMON")).on(release=OLD, memlock=65536).examine()

    assert {"rights locked memory", "rights CAP_SYS_RESOURCE"} == seen.problems
    assert "65536 bytes, too low for maps on kernels before 5.11" == seen[MEMLOCK].found
    assert seen[MEMLOCK].fix.startswith("ulimit -l unlimited")


@pytest.mark.parametrize(
    ("capabilities", "release", "memlock", "words"),
    [
        (("BPF", "PERFMON"), OLD, -1, "unlimited"),
        (("BPF", "PERFMON", "SYS_RESOURCE"), OLD, 65536, "65536 bytes, which CAP_SYS_RESOURCE can raise"),
        (("BPF", "PERFMON"), "5.11.0", 65536, "65536 bytes; maps are charged to the cgroup"),
    ],
)
def test_memlock_that_does_not_matter_has_the_reason(host, capabilities, release, memlock, words):
    """Enough, lifted, or no longer required."""
    seen = host.process(capabilities).on(release=release, memlock=memlock).examine()

    assert (FindingVerdict.OK, words) == (seen[MEMLOCK].verdict, seen[MEMLOCK].found)


@pytest.mark.parametrize(
    ("capabilities", "switch", "verdict"),
    [
        (("BPF", "PERFMON"), "0", FindingVerdict.NOTE),
        (("BPF", "PERFMON"), "1", FindingVerdict.OK),
        (("BPF", "PERFMON", "SYS_ADMIN"), "0", FindingVerdict.OK),
    ],
)
def test_run_statistics_are_a_luxury(host, capabilities, switch, verdict):
    """Never a reason to grant CAP_SYS_ADMIN: the fix is the sysctl."""
    seen = host.process(capabilities).write("proc/sys/kernel/bpf_stats_enabled", switch).examine()
    finding = seen["rights", "run statistics"]

    assert verdict == finding.verdict
    assert ("kernel.bpf_stats_enabled=1" in finding.fix) == (verdict is FindingVerdict.NOTE)
    assert set() == seen.problems


def test_capabilities_of_a_user_namespace_do_not_count(host):
    """Rootless containers show all of them, and the kernel refuses all the same."""
    seen = host.namespaces({"user": 4026532300}).examine()

    assert {"rights user namespace"} == seen.problems


def test_bcc_that_cannot_be_imported_is_explained(host):
    """With the package's name, because it is not on PyPI."""
    seen = host.on(bcc=Bcc(cause="ModuleNotFoundError: No module named 'bcc'")).examine()

    assert {"BCC "} == seen.problems
    assert "No module named 'bcc'" in seen["BCC", ""].found
    assert "python3-bpfcc" in seen["BCC", ""].fix


def test_unreadable_files_are_unknown_and_no_problem(host):
    """Sandboxes and hardened containers hide a lot."""
    seen = host.remove("proc/sys").examine()

    assert seen[PARANOID].found.startswith("unknown; ")
    assert set() == seen.problems


def test_an_unknown_process_has_no_rights(host):
    """No status file: better a false alarm than a false promise."""
    assert {"rights CAP_BPF", "rights CAP_PERFMON"} == host.remove("proc/self/status").examine().problems


@pytest.mark.parametrize(
    ("settings", "verdict", "reported"),
    [
        ({}, FindingVerdict.NOTE, "the programs' run time, and whether some hooks fire, stay unknown"),
        ({"probe_statistics": True}, FindingVerdict.PROBLEM, "probe_statistics has no effect"),
        ({"max_overhead": "1%", "probe_statistics": True}, FindingVerdict.PROBLEM, "max_overhead has no effect"),
    ],
)
def test_requested_run_statistics_that_are_refused_are_a_problem(host, settings, verdict, reported):
    """With the sysctl that helps, which the host's root sets once."""
    two = host.process(("BPF", "PERFMON"))
    finding = two.examine(**settings)["rights", "run statistics"]

    assert (verdict, True) == (finding.verdict, finding.found.endswith(reported))
    assert "sysctl -w kernel.bpf_stats_enabled=1 on the host" in finding.fix
    assert set() == two.write("proc/sys/kernel/bpf_stats_enabled", "1\n").examine(**settings).problems


@pytest.mark.parametrize(("names", "shown"), [((), "none"), (("BPF",), "CAP_BPF")])
def test_the_rights_that_the_running_service_keeps_are_reported(host, names, shown):
    """It depends on the kernel."""
    finding = host.on(to_read=names).examine()["rights", "kept"]

    assert f"capabilities that the service keeps after startup: {shown}" == finding.found
    assert FindingVerdict.OK is finding.verdict


def test_a_missing_libseccomp_is_reported(host):
    """The service runs nevertheless."""
    finding = host.on(libseccomp=False).examine()["rights", "kept"]

    assert FindingVerdict.NOTE is finding.verdict
    assert "its system calls are not filtered" in finding.found
    assert "install libseccomp2" in finding.fix
