# SPDX-License-Identifier: Apache-2.0
"""The rights that the doctor prints are enough, and each of them is needed: the real service is run with them."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from mounts import PLACE, WITH_TRACEFS, WITHOUT_TRACEFS, in_mounts, why_no_tracefs

from ebpf_sidecar.receivers.ebpf.kernel.syscall_table import syscall_table

CONFIG = """
receivers: {ebpf: {collection_interval: 1s}}
exporters: {debug: {}}
service: {pipelines: {metrics: {receivers: [ebpf], exporters: [debug]}}}
"""
SECONDS = 60
NOBODY = ("--reuid=65534", "--regid=65534", "--clear-groups")
READ_ONLY = f"{{ {WITH_TRACEFS}; }}" + "".join(
    f" && mount -o remount,bind,ro {place}" for place in ("/", "/dev/shm", "/sys/kernel/tracing")
)
# Refuses one system call (by number) with EPERM and lets all others through: seccomp(2), linux/filter.h
FILTER = """
import ctypes, os, struct, sys
refused, command = int(sys.argv[1]), sys.argv[2:]
load, equal, give = 0x20, 0x15, 0x06
rules = [(load, 0, 0, 0), (equal, 0, 1, refused), (give, 0, 0, 0x50000 | 1), (give, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(rules), ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program) == 0, ctypes.get_errno()
os.execvp(command[0], command)
"""

pytestmark = [
    pytest.mark.parallel,
    pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv (util-linux) is not installed"),
    pytest.mark.skipif(bool(why_no_tracefs()), reason=why_no_tracefs()),
]


@dataclass(frozen=True)
class CommandResult:
    """A service that was stopped once it had attached, or that ended by itself."""

    code: int
    log: str

    @property
    def attached(self):
        """How many hooks were attached; None when it failed before."""
        found = re.search(r"attached (\d+) of \d+ hooks", self.log)
        return int(found[1]) if found else None


def limited(capabilities, *more):
    """The start of a command line that leaves these capabilities and no others, for children as well."""
    names = ",".join(f"+{name.lower()}" for name in capabilities)
    chosen = f"-all,{names}" if names else "-all"
    sets = (f"--{kind}={chosen}" for kind in ("bounding-set", "inh-caps", "ambient-caps"))
    return ["setpriv", "--no-new-privs", *more, *sets]


@pytest.fixture(scope="module")
def as_nobody(request):
    """The start of a command line of another user than root with these capabilities; compiled programs are kept in a
    separate folder, which is empty at first at full length, so that this user compiles as well.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        programs = Path(folder, "programs")
        programs.mkdir(mode=0o700)
        kept = [] if request.config.getoption("--full-length") else Path(os.environ["CACHE_DIRECTORY"]).glob("*")
        for path in kept:
            with suppress(FileNotFoundError):  # another process of this run removed it
                shutil.copy(path, programs)
        for path in (programs, *programs.iterdir()):
            os.chown(path, 65534, 65534)
        yield lambda capabilities: [*limited(capabilities, *NOBODY), "env", f"CACHE_DIRECTORY={programs}"]


@pytest.fixture(scope="module")
def run(command):
    """Run the service, by a command line that starts with this, until it is ready."""

    def run(before, mounts=WITH_TRACEFS):
        line = in_mounts(mounts, [*before, *command, "run", "--config", "-"])
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        with subprocess.Popen(line, text=True, **streams) as process:
            watchdog = threading.Timer(SECONDS, process.kill)
            watchdog.start()
            process.stdin.write(CONFIG)
            process.stdin.close()
            reported = []
            for text in process.stderr:
                reported.append(text)
                if "ready: " in text:
                    process.terminate()
            watchdog.cancel()
        return CommandResult(process.wait(), "".join(reported))

    return run


@pytest.fixture(scope="module")
def doctor(command):
    """What the doctor reports when its command line starts with this: exit code, problems and the whole answer."""

    def doctor(before=(), mounts=WITH_TRACEFS):
        line = in_mounts(mounts, [*before, *command, "doctor", "--json", "--config", "-"])
        done = subprocess.run(line, input=CONFIG, capture_output=True, text=True, timeout=SECONDS, check=False)
        answer = json.loads(done.stdout or "{}")
        assert answer, done.stderr
        problems = {f"{f['area']} {f['subject']}" for f in answer["findings"] if f["verdict"] == "problem"}
        return done.returncode, problems, answer

    return doctor


@pytest.fixture(scope="module")
def printed(doctor):
    """The capabilities in the doctor's securityContext, and how many hooks it says this kernel has."""
    _, _, answer = doctor()
    (text,) = [advice["text"] for advice in answer["advice"] if advice["name"] == "kubernetes"]
    context = yaml.safe_load(text)["containers"][0]["securityContext"]
    hooks = sum(finding["area"] == "hook" and finding["verdict"] == "ok" for finding in answer["findings"])
    return context["capabilities"]["add"], hooks


def test_the_printed_rights_are_enough(run, printed, doctor):
    """Every hook attaches with these capabilities alone, and without any folder that can be written to."""
    capabilities, hooks = printed
    ended = run(limited(capabilities), READ_ONLY)

    assert (0, hooks) == (ended.code, ended.attached), ended.log
    assert hooks > 10
    assert (0, set()) == doctor(limited(capabilities))[:2]


def test_each_printed_capability_is_needed(run, printed, doctor):
    """Without it the service does not start and names it, and so does the doctor."""
    capabilities, _ = printed
    for left_out in capabilities:
        rest = [name for name in capabilities if name != left_out]
        ended = run(limited(rest))
        code, problems, _ = doctor(limited(rest))

        assert (1, None) == (ended.code, ended.attached), ended.log
        assert f"CAP_{left_out} missing" in ended.log
        assert (1, {f"rights CAP_{left_out}"}) == (code, problems)


def test_without_tracefs_cap_sys_admin_is_needed_or_the_mount(run, printed, doctor):
    """Both name the command; with the capability the service mounts it by itself."""
    capabilities, hooks = printed
    refused, mounted = (
        run(limited(capabilities), WITHOUT_TRACEFS),
        run(limited([*capabilities, "SYS_ADMIN"]), WITHOUT_TRACEFS),
    )
    code, problems, answer = doctor(limited(capabilities), WITHOUT_TRACEFS)

    assert (1, None) == (refused.code, refused.attached), refused.log
    assert "CAP_SYS_ADMIN missing" in refused.log
    assert "mount -t tracefs tracefs /sys/kernel/tracing" in refused.log
    assert (1, {"kernel tracefs", "rights CAP_SYS_ADMIN"}) == (code, problems)
    assert any("mount -t tracefs tracefs /sys/kernel/tracing" in finding["fix"] for finding in answer["findings"])
    assert (0, hooks) == (mounted.code, mounted.attached), mounted.log
    assert 0 == doctor(limited([*capabilities, "SYS_ADMIN"]), WITHOUT_TRACEFS)[0]


def test_another_user_than_root_must_be_able_to_read_tracefs(run, printed, doctor, as_nobody):
    """CAP_DAC_READ_SEARCH is one way; that is why the pod runs as root without it."""
    capabilities, hooks = printed
    enough = run(as_nobody([*capabilities, "DAC_READ_SEARCH"]))

    assert (0, hooks) == (enough.code, enough.attached), enough.log
    if subprocess.run([*limited((), *NOBODY), sys.executable, "-c", "import ebpf_sidecar"], check=False).returncode:
        pytest.skip("the package is in a folder that only root may read")
    assert (1, {"kernel tracefs"}) == doctor(as_nobody(capabilities))[:2]
    assert "tracefs" in run(as_nobody(capabilities)).log


def with_tracefs(options):
    """A shell script that mounts it with these options, which all its mounts share."""
    return f"{{ {WITH_TRACEFS}; }} && mount -o remount,{options} {PLACE}"


@pytest.fixture
def remounted():
    """Scripts that mount tracefs with other options; they are as before afterwards."""
    before = subprocess.run(
        in_mounts(WITH_TRACEFS, ["stat", "-c", "mode=%a,gid=%g", PLACE]), capture_output=True, text=True, check=True
    )
    yield with_tracefs
    subprocess.run(in_mounts(with_tracefs(before.stdout.strip()), ["true"]), check=True)


def test_the_advice_for_another_user_than_root_is_enough(run, printed, doctor, remounted, as_nobody):
    """The group reads all files of tracefs; a world-readable folder (mode=755) would not be enough."""
    if subprocess.run([*limited((), *NOBODY), sys.executable, "-c", "import ebpf_sidecar"], check=False).returncode:
        pytest.skip("the package is in a folder that only root may read")
    capabilities, hooks = printed
    nobody = as_nobody(capabilities)
    code, problems, answer = doctor(nobody, remounted("mode=755"))
    [fix] = [finding["fix"] for finding in answer["findings"] if finding["subject"] == "tracefs"]
    options = re.search(r"mount -o remount,(\S+) /sys/kernel/tracing$", fix)[1]
    refused, enough = run(nobody, remounted("mode=755")), run(nobody, remounted(options))

    assert (1, {"kernel tracefs"}) == (code, problems)
    assert (
        f"user 65534 may not read it; run as root (runAsUser: 0), or as root: {fix[fix.index('mount') :]}"
        in refused.log
    )
    assert "Traceback" not in refused.log
    assert (0, hooks) == (enough.code, enough.attached), enough.log
    assert (0, set()) == doctor(nobody, remounted(options))[:2]


def test_a_tracefs_that_another_user_mounts_for_itself_cannot_be_read(run, printed, doctor, as_nobody):
    """The doctor finds out as the service does, and the right that both name is enough."""
    if subprocess.run([*limited((), *NOBODY), sys.executable, "-c", "import ebpf_sidecar"], check=False).returncode:
        pytest.skip("the package is in a folder that only root may read")
    capabilities, hooks = printed
    mounting = as_nobody([*capabilities, "SYS_ADMIN"])
    reading = as_nobody([*capabilities, "SYS_ADMIN", "DAC_READ_SEARCH"])
    code, problems, answer = doctor(mounting, WITHOUT_TRACEFS)
    [finding] = [finding for finding in answer["findings"] if finding["subject"] == "tracefs"]
    refused, enough = run(mounting, WITHOUT_TRACEFS), run(reading, WITHOUT_TRACEFS)

    assert (1, {"kernel tracefs"}) == (code, problems)
    assert finding["fix"].startswith("run as root: mount -t tracefs -o mode=750,gid=65534 tracefs /sys/kernel/tracing")
    assert f"tracefs is {finding['found']}; {finding['fix']}" in refused.log
    assert (0, hooks) == (enough.code, enough.attached), enough.log
    assert (0, set()) == doctor(reading, WITHOUT_TRACEFS)[:2]


def without_call(capabilities, call):
    """The start of a command line under a filter that refuses one system call."""
    return [*limited(capabilities), sys.executable, "-c", FILTER, str(syscall_table().numbers[call])]


@pytest.mark.parametrize(
    ("call", "reported"),
    [
        ("bpf", "bpf(2) is refused although the capabilities are present: a seccomp filter forbids it"),
        ("perf_event_open", "tracepoint refused by seccomp"),
    ],
)
def test_a_seccomp_filter_is_found_by_trying(run, printed, doctor, call, reported):
    """The service and the doctor find it."""
    capabilities, hooks = printed
    refused = without_call(capabilities, call)
    ended = run(refused)

    assert (1, {"rights seccomp"}) == doctor(refused)[:2]
    assert reported in ended.log
    assert (ended.attached or 0) < hooks


def test_a_harmless_seccomp_filter_is_no_problem(printed, doctor):
    """Mode 2 alone says nothing: most filters let through what the capabilities allow."""
    capabilities, _ = printed

    assert (0, set()) == doctor(without_call(capabilities, "reboot"))[:2]
