# SPDX-License-Identifier: Apache-2.0
import errno
from dataclasses import replace

import pytest

from ebpf_sidecar.receivers.ebpf.kernel import refusals
from ebpf_sidecar.receivers.ebpf.kernel.refusals import Failure, Standing
from ebpf_sidecar.receivers.ebpf.loader.bcc_package import how_to_see, system_folder

ALL = (1 << 41) - 1
ADMIN, RESOURCE, PERFMON, BPF = 1 << 21, 1 << 24, 1 << 38, 1 << 39


def standing(capabilities=ALL, seccomp=0, release=(6, 18), memlock=-1):
    """Everything allowed on a new kernel, unless said otherwise."""
    return Standing(capabilities, seccomp, release, memlock)


@pytest.mark.parametrize(
    ("capabilities", "release", "missing"),
    [
        (0, (6, 18), ("CAP_BPF", "CAP_PERFMON")),
        (BPF, (6, 18), ("CAP_PERFMON",)),
        (PERFMON, (6, 18), ("CAP_BPF",)),
        (BPF | PERFMON, (6, 18), ()),
        (ADMIN, (6, 18), ()),
        (BPF | PERFMON, (5, 4), ("CAP_SYS_ADMIN",)),
    ],
)
def test_the_missing_capabilities_are_those_the_kernel_asks_for(capabilities, release, missing):
    """CAP_SYS_ADMIN includes the newer two, which kernels before 5.8 do not know."""
    assert missing == refusals.missing_capabilities(standing(capabilities, release=release))


@pytest.mark.parametrize(
    ("known", "failure", "words"),
    [
        (standing(0), Failure.RIGHTS, "CAP_BPF and CAP_PERFMON missing; run as root"),
        (standing(release=(4, 19)), Failure.KERNEL, "kernel 4.19 is too old; use 5.10 or later"),
        (standing(BPF | PERFMON, release=(5, 10), memlock=65536), Failure.MEMLOCK, "ulimit -l unlimited"),
    ],
)
def test_what_must_fail_is_said_before_it_is_tried(known, failure, words):
    """Each cause has its own kind and says what to do."""
    diagnosis = refusals.before_loading(known)

    assert failure == diagnosis.failure
    assert words in diagnosis.message


@pytest.mark.parametrize(
    "known",
    [
        standing(),
        standing(BPF | PERFMON, memlock=65536),
        standing(BPF | PERFMON | RESOURCE, release=(5, 10), memlock=0),
    ],
)
def test_what_can_work_is_tried(known):
    """No objection: newer kernels have no limit for locked memory, CAP_SYS_RESOURCE lifts it on older ones."""
    assert refusals.before_loading(known) is None


@pytest.mark.parametrize(
    ("number", "known", "failure", "words"),
    [
        (errno.EPERM, standing(seccomp=2), Failure.SECCOMP, "bpf(2) is refused although the capabilities are there"),
        (errno.EPERM, standing(0, seccomp=2), Failure.RIGHTS, "CAP_BPF and CAP_PERFMON missing"),
        (errno.EPERM, standing(), Failure.RIGHTS, "lockdown"),
        (errno.ENOMEM, standing(release=(5, 10)), Failure.MEMLOCK, "lower max_map_memory"),
        (errno.E2BIG, standing(release=(6, 18)), Failure.ATTACH, "than this kernel can make: lower max_map_memory"),
        (errno.ENOMEM, standing(), Failure.ATTACH, "Cannot allocate memory"),
        (errno.ENOENT, standing(), Failure.ATTACH, "No such file or directory"),
        (errno.EMFILE, standing(), Failure.DESCRIPTORS, "ulimit -n 65536"),
    ],
)
def test_a_refusal_is_told_from_others_that_look_alike(number, known, failure, words):
    """EPERM alone says little; with capabilities and seccomp mode it says what to change."""
    diagnosis = refusals.after_refusal("bpf", number, known)

    assert failure == diagnosis.failure
    assert words in diagnosis.message


@pytest.mark.parametrize("diagnose", [refusals.no_bcc, refusals.compile_error])
def test_too_few_descriptors_are_named_whoever_lacks_them(diagnose):
    """Python's importer and clang say so each in their own words."""
    diagnosis = diagnose("cannot open shared object file: Too many open files")

    assert Failure.DESCRIPTORS == diagnosis.failure


@pytest.mark.parametrize("seccomp", [0, 2])
def test_a_type_of_program_that_alone_is_refused_is_refused_by_the_kernel(seccomp):
    """Neither seccomp nor lockdown would have let the others in; the verifier's reasons stay what they are."""
    refused = refusals.refused_way(refusals.after_refusal("bpf", errno.EPERM, standing(seccomp=seccomp)), "fentry")
    verifier = refusals.Diagnosis(Failure.VERIFIER, "bad program")

    assert (Failure.KERNEL, "this kernel refuses fentry; bpf(2) lets all other programs in") == (
        refused.failure,
        refused.message,
    )
    assert verifier is refusals.refused_way(verifier, "fentry")


def test_every_failure_has_a_few_words():
    """For the label of a hook that is not attached."""
    assert set(Failure) == set(refusals.BRIEFLY)
    assert all(len(words.split()) <= 4 for words in refusals.BRIEFLY.values())


HEADER = "bpf: Failed to load program: Permission denied\n"
VERDICT = (
    HEADER
    + "0: R1=ctx()\n; x @ p.c:9\n1: (79) r1 = *(u64 *)(r0 +0)\nR0 invalid mem access\nprocessed 2 insns\n\nHINT: x"
)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EINVAL, errno.E2BIG])
@pytest.mark.parametrize("seccomp", [0, 2])
def test_what_the_verifier_refuses_is_no_lack_of_rights(number, seccomp):
    """It uses the same numbers, but says why; a filter or a security module never does."""
    diagnosis = refusals.after_load("count", number, standing(seccomp=seccomp), VERDICT)

    assert Failure.VERIFIER == diagnosis.failure
    assert (
        "the kernel's verifier refuses the program count (; x @ p.c:9 / 1: (79) r1 = *(u64 *)(r0 +0) / "
        "R0 invalid mem access); report it with the kernel's version (uname -r), or leave the probe out"
    ) == diagnosis.message


@pytest.mark.parametrize(
    ("known", "log", "failure", "words"),
    [
        (standing(), HEADER, Failure.RIGHTS, "lockdown"),
        (standing(seccomp=2), HEADER, Failure.SECCOMP, "seccomp filter"),
        (standing(BPF), VERDICT, Failure.RIGHTS, "CAP_PERFMON missing"),
        (standing(), HEADER + "unknown func bpf_probe_read_kernel#113", Failure.VERIFIER, "look for kernel lockdown"),
    ],
)
def test_a_lack_of_rights_is_no_fault_of_the_program(known, log, failure, words):
    """Nothing but the headline is no reason; without CAP_PERFMON the verifier refuses what it else allows."""
    diagnosis = refusals.after_load("count", errno.EACCES, known, log)

    assert failure == diagnosis.failure
    assert words in diagnosis.message


def test_in_a_user_namespace_capabilities_count_for_nothing():
    """All of them are there, whatever seccomp does besides."""
    diagnosis = refusals.after_refusal("bpf", errno.EPERM, replace(standing(seccomp=2), confined=True))

    assert Failure.RIGHTS == diagnosis.failure
    assert "the capabilities count only in this user namespace; run rootful" in diagnosis.message


def test_in_a_user_namespace_that_is_why_tracefs_cannot_be_mounted():
    """Mounting it outside would only lead to the next refusal."""
    refused = refusals.no_tracefs(errno.EPERM, replace(standing(), confined=True))
    other = refusals.no_tracefs(errno.ENODEV, replace(standing(), confined=True))

    assert Failure.RIGHTS == refused.failure
    assert "the capabilities count only in this user namespace; run rootful" in refused.message
    assert Failure.TRACEFS == other.failure


def test_what_bcc_says_of_an_attachment_is_kept():
    """It names the file that could not be used."""
    diagnosis = refusals.after_refusal(
        "perf_event_open", errno.ENOENT, standing(), "perf_event_open(x): no such file\n"
    )

    assert (
        "perf_event_open(2) failed: No such file or directory (perf_event_open(x): no such file)" == diagnosis.message
    )


def test_without_tracefs_the_exact_command_is_named():
    """And the capability that was missing for doing it ourselves."""
    diagnosis = refusals.no_tracefs(errno.EPERM, standing(BPF | PERFMON))

    assert Failure.TRACEFS == diagnosis.failure
    assert (
        "(CAP_SYS_ADMIN missing); run as root on the host: mount -t tracefs tracefs /sys/kernel/tracing"
        in diagnosis.message
    )


def test_without_bcc_the_package_is_named():
    """It is not on PyPI, so the package name is what helps."""
    diagnosis = refusals.no_bcc("No module named 'bcc'")

    assert Failure.BCC == diagnosis.failure
    assert "(No module named 'bcc'); install the package python3-bpfcc (Debian, Ubuntu)" in diagnosis.message


def test_bcc_that_only_this_environment_does_not_see_is_not_to_be_installed():
    """The user has done that already; two ways to see it are named."""
    folder = "/usr/lib/python3/dist-packages/bcc"
    said = refusals.no_bcc("No module named 'bcc'", folder, how_to_see(folder)).message

    assert f"it is installed in {folder}, but this virtual environment does not see it; ln -s {folder} " in said
    assert "-m venv --system-site-packages " in said


@pytest.mark.parametrize(
    ("code", "found"), [("echo /there/bcc", "/there/bcc"), ("echo no >&2; exit 1", ""), ("exec /no/such/program", "")]
)
def test_the_systems_python_is_asked_where_bcc_is(tmp_path, code, found):
    """Whatever it answers."""
    python = tmp_path / "python3"
    python.write_text(f"#!/bin/sh\n{code}\n")
    python.chmod(0o755)

    assert found == system_folder(str(python))
    assert "" == system_folder(str(tmp_path / "none"))


def test_a_compile_error_keeps_the_last_lines_of_clang():
    """Blank lines are no lines."""
    diagnosis = refusals.compile_error("first\n\n" + "\n".join(f"line {i}" for i in range(12)))

    assert "first" not in diagnosis.message
    assert diagnosis.message.endswith("line 10\nline 11")


def test_a_map_that_cannot_be_made_is_read_from_bccs_log():
    """BCC says it in words only."""
    log = "noise\ncould not open bpf map: control, error: Operation not permitted\n"

    assert Failure.SECCOMP == refusals.from_log(log, standing(seccomp=2)).failure
    assert refusals.from_log("something else", standing()) is None


@pytest.mark.parametrize(
    ("text", "release"), [("6.18.44-fc-v470", (6, 18)), ("5.10.0-46-amd64", (5, 10)), ("strange", (0, 0))]
)
def test_a_release_is_two_numbers(text, release):
    """What follows them does not matter."""
    assert release == refusals.release_of(text)
