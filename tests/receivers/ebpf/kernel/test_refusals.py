# SPDX-License-Identifier: Apache-2.0
import errno
from dataclasses import replace

import pytest

from ebpf_sidecar.receivers.ebpf.kernel import refusals
from ebpf_sidecar.receivers.ebpf.kernel.refusals import Failure, ProcessPrivileges
from ebpf_sidecar.receivers.ebpf.loader.bcc_package import how_to_make_visible, system_folder

ALL = (1 << 41) - 1
ADMIN, RESOURCE, PERFMON, BPF = 1 << 21, 1 << 24, 1 << 38, 1 << 39


def privileges(capabilities=ALL, seccomp=0, release=(6, 18), memlock=-1):
    """Everything allowed on a new kernel, unless stated otherwise."""
    return ProcessPrivileges(capabilities, seccomp, release, memlock)


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
def test_the_missing_capabilities_are_those_the_kernel_requires(capabilities, release, missing):
    """CAP_SYS_ADMIN includes the newer two, which kernels before 5.8 do not know."""
    assert missing == refusals.missing_capabilities(privileges(capabilities, release=release))


@pytest.mark.parametrize(
    ("known", "failure", "words"),
    [
        (privileges(0), Failure.RIGHTS, "CAP_BPF and CAP_PERFMON missing; run as root"),
        (privileges(release=(4, 19)), Failure.KERNEL, "kernel 4.19 is too old; use 5.10 or later"),
        (privileges(BPF | PERFMON, release=(5, 10), memlock=65536), Failure.MEMLOCK, "ulimit -l unlimited"),
    ],
)
def test_what_must_fail_is_reported_without_trying(known, failure, words):
    """Each cause has its own kind and says what to do."""
    problem = refusals.before_loading(known)

    assert failure == problem.failure
    assert words in problem.message


@pytest.mark.parametrize(
    "known",
    [
        privileges(),
        privileges(BPF | PERFMON, memlock=65536),
        privileges(BPF | PERFMON | RESOURCE, release=(5, 10), memlock=0),
    ],
)
def test_what_can_work_is_tried(known):
    """No objection: newer kernels have no limit for locked memory, CAP_SYS_RESOURCE lifts it on older ones."""
    assert refusals.before_loading(known) is None


@pytest.mark.parametrize(
    ("number", "known", "failure", "words"),
    [
        (
            errno.EPERM,
            privileges(seccomp=2),
            Failure.SECCOMP,
            "bpf(2) is refused although the capabilities are present",
        ),
        (errno.EPERM, privileges(0, seccomp=2), Failure.RIGHTS, "CAP_BPF and CAP_PERFMON missing"),
        (errno.EPERM, privileges(), Failure.RIGHTS, "lockdown"),
        (errno.ENOMEM, privileges(release=(5, 10)), Failure.MEMLOCK, "lower max_map_memory"),
        (errno.E2BIG, privileges(release=(6, 18)), Failure.ATTACH, "than this kernel allows: lower max_map_memory"),
        (errno.ENOMEM, privileges(), Failure.ATTACH, "Cannot allocate memory"),
        (errno.ENOENT, privileges(), Failure.ATTACH, "No such file or directory"),
        (errno.EMFILE, privileges(), Failure.DESCRIPTORS, "ulimit -n 65536"),
    ],
)
def test_a_refusal_is_distinguished_from_others_that_look_alike(number, known, failure, words):
    """EPERM alone says little; with capabilities and seccomp mode it says what to change."""
    problem = refusals.after_refusal("bpf", number, known)

    assert failure == problem.failure
    assert words in problem.message


@pytest.mark.parametrize("diagnose", [refusals.no_bcc, refusals.compile_error])
def test_too_few_descriptors_are_named_whoever_lacks_them(diagnose):
    """Python's importer and clang report it each in their own words."""
    problem = diagnose("cannot open shared object file: Too many open files")

    assert Failure.DESCRIPTORS == problem.failure


@pytest.mark.parametrize("seccomp", [0, 2])
def test_a_type_of_program_that_alone_is_refused_is_refused_by_the_kernel(seccomp):
    """Neither seccomp nor lockdown would have let the others in; the verifier's reasons stay what they are."""
    refused = refusals.refused_attach_type(
        refusals.after_refusal("bpf", errno.EPERM, privileges(seccomp=seccomp)), "fentry"
    )
    verifier = refusals.LoadProblem(Failure.VERIFIER, "bad program")

    assert (Failure.KERNEL, "this kernel refuses fentry; bpf(2) accepts all other programs") == (
        refused.failure,
        refused.message,
    )
    assert verifier is refusals.refused_attach_type(verifier, "fentry")


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
    problem = refusals.after_load("count", number, privileges(seccomp=seccomp), VERDICT)

    assert Failure.VERIFIER == problem.failure
    assert (
        "the kernel's verifier rejects the program count (; x @ p.c:9 / 1: (79) r1 = *(u64 *)(r0 +0) / "
        "R0 invalid mem access); report it with the kernel's version (uname -r), or leave the probe out"
    ) == problem.message


@pytest.mark.parametrize(
    ("known", "log", "failure", "words"),
    [
        (privileges(), HEADER, Failure.RIGHTS, "lockdown"),
        (privileges(seccomp=2), HEADER, Failure.SECCOMP, "seccomp filter"),
        (privileges(BPF), VERDICT, Failure.RIGHTS, "CAP_PERFMON missing"),
        (
            privileges(),
            HEADER + "unknown func bpf_probe_read_kernel#113",
            Failure.VERIFIER,
            "check for kernel lockdown",
        ),
    ],
)
def test_a_lack_of_rights_is_no_fault_of_the_program(known, log, failure, words):
    """A bare headline is no reason; without CAP_PERFMON the verifier refuses what it otherwise allows."""
    problem = refusals.after_load("count", errno.EACCES, known, log)

    assert failure == problem.failure
    assert words in problem.message


def test_in_a_user_namespace_capabilities_do_not_count():
    """All of them are there, whatever seccomp does besides."""
    problem = refusals.after_refusal("bpf", errno.EPERM, replace(privileges(seccomp=2), confined=True))

    assert Failure.RIGHTS == problem.failure
    assert "the capabilities are valid only in this user namespace; run rootful" in problem.message


def test_in_a_user_namespace_that_is_why_tracefs_cannot_be_mounted():
    """Mounting it outside would only lead to the next refusal."""
    refused = refusals.no_tracefs(errno.EPERM, replace(privileges(), confined=True))
    other = refusals.no_tracefs(errno.ENODEV, replace(privileges(), confined=True))

    assert Failure.RIGHTS == refused.failure
    assert "the capabilities are valid only in this user namespace; run rootful" in refused.message
    assert Failure.TRACEFS == other.failure


def test_bccs_message_about_an_attachment_is_kept():
    """It names the file that could not be used."""
    problem = refusals.after_refusal(
        "perf_event_open", errno.ENOENT, privileges(), "perf_event_open(x): no such file\n"
    )

    assert "perf_event_open(2) failed: No such file or directory (perf_event_open(x): no such file)" == problem.message


def test_without_tracefs_the_exact_command_is_named():
    """And the capability that was missing for doing it ourselves."""
    problem = refusals.no_tracefs(errno.EPERM, privileges(BPF | PERFMON))

    assert Failure.TRACEFS == problem.failure
    assert (
        "(CAP_SYS_ADMIN missing); run as root on the host: mount -t tracefs tracefs /sys/kernel/tracing"
        in problem.message
    )


def test_without_bcc_the_package_is_named():
    """It is not on PyPI, so the package name is what helps."""
    problem = refusals.no_bcc("No module named 'bcc'")

    assert Failure.BCC == problem.failure
    assert "(No module named 'bcc'); install the package python3-bpfcc (Debian, Ubuntu)" in problem.message


def test_bcc_that_only_this_environment_does_not_see_is_not_to_be_installed():
    """The user has done that already; two ways to see it are named."""
    folder = "/usr/lib/python3/dist-packages/bcc"
    reported = refusals.no_bcc("No module named 'bcc'", folder, how_to_make_visible(folder)).message

    assert f"it is installed in {folder}, but this virtual environment does not see it; ln -s {folder} " in reported
    assert "-m venv --system-site-packages " in reported


@pytest.mark.parametrize(
    ("code", "found"), [("echo /there/bcc", "/there/bcc"), ("echo no >&2; exit 1", ""), ("exec /no/such/program", "")]
)
def test_the_systems_python_finds_bcc(tmp_path, code, found):
    """Whatever it answers."""
    python = tmp_path / "python3"
    python.write_text(f"#!/bin/sh\n{code}\n")
    python.chmod(0o755)

    assert found == system_folder(str(python))
    assert "" == system_folder(str(tmp_path / "none"))


def test_a_compile_error_keeps_the_last_lines_of_clang():
    """Blank lines are no lines."""
    problem = refusals.compile_error("first\n\n" + "\n".join(f"line {i}" for i in range(12)))

    assert "first" not in problem.message
    assert problem.message.endswith("line 10\nline 11")


def test_a_map_that_cannot_be_made_is_read_from_bccs_log():
    """BCC says it in words only."""
    log = "noise\ncould not open bpf map: control, error: Operation not permitted\n"

    assert Failure.SECCOMP == refusals.from_log(log, privileges(seccomp=2)).failure
    assert refusals.from_log("something else", privileges()) is None


@pytest.mark.parametrize(
    ("text", "release"), [("6.18.44-fc-v470", (6, 18)), ("5.10.0-46-amd64", (5, 10)), ("strange", (0, 0))]
)
def test_a_release_is_two_numbers(text, release):
    """What follows them does not matter."""
    assert release == refusals.release_of(text)
