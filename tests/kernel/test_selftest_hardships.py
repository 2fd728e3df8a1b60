# SPDX-License-Identifier: Apache-2.0
"""``ebpf-sidecar selftest`` where it is stopped in the middle, or has little to work with."""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from bpf_programs import exists, programs_of
from mounts import WITH_TRACEFS
from waiting import until

COMMAND = [sys.executable, "-c", "from ebpf_sidecar.pipeline.cli.main import main; main()", "selftest"]
QUICK = [*COMMAND, "--json", "--quick"]
LEAST = ["setpriv", "--bounding-set=-all,+bpf,+perfmon", "--inh-caps=-all", "--no-new-privs"]
PRIVATE = ["unshare", "--pid", "--fork", "--mount", "--cgroup", "--net", "--ipc", "--uts", "--mount-proc"]
SECONDS = 180
NOTHING_SHARED = "mount --make-rprivate /"
READ_ONLY = f"{NOTHING_SHARED} && mount -o remount,bind,ro /"

needs_tools = pytest.mark.skipif(
    not all(map(shutil.which, ("unshare", "setpriv", "mount"))), reason="util-linux is not installed"
)

pytestmark = pytest.mark.parallel


def processes_in(folder):
    """The command lines of processes that name a folder."""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            line = process.read_bytes().decode(errors="replace")
            if str(folder) in line:
                yield line


def behind(script, *before):
    """The result of a run started by a shell script, in separate namespaces."""
    line = [*PRIVATE, "sh", "-c", f'{script} && exec "$@"', "sh", *before, *QUICK]
    done = subprocess.run(line, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("number", "send"),
    [
        (signal.SIGKILL, os.kill),
        (signal.SIGINT, os.killpg),  # Ctrl-C
        # as the kernel does to a cgroup that is out of memory, except for the process that cleans up
        pytest.param(signal.SIGKILL, os.killpg, marks=pytest.mark.full_length),
        # a terminal that is closed
        pytest.param(signal.SIGHUP, os.killpg, marks=pytest.mark.full_length),
        pytest.param(signal.SIGTERM, os.kill, marks=pytest.mark.full_length),
    ],
)
def test_nothing_is_left_when_it_is_stopped_in_the_middle(tmp_path, number, send):
    """No folder, no process, no program in the kernel; whoever presses Ctrl-C means all processes."""
    # shells start what they put into the background with SIGINT ignored, nohup with SIGHUP: both are handed on
    line = ["env", "--default-signal=INT,HUP", *COMMAND, "--folder", tmp_path]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          text=True, start_new_session=True) as child:  # fmt: skip
        next(line for line in child.stderr if line.startswith("[5/"))  # progress shows that it is at work
        programs = programs_of(child.pid)
        [folder] = tmp_path.iterdir()
        send(child.pid, number)
        reported = child.stderr.read()

    assert child.returncode in (-number, 128 + number)
    assert "Traceback" not in reported
    assert until(lambda: not folder.exists())
    assert until(lambda: not list(processes_in(folder)))
    assert 10 < len(programs)
    assert until(lambda: not any(map(exists, programs)))


@needs_tools
@pytest.mark.full_length
def test_in_an_unprivileged_container_all_but_the_disk_is_checked(tmp_path, monkeypatch):
    """The rights that the doctor prints, all namespaces its own, a read-only root and tmpfs for temporary files."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    mounts = f'{{ {WITH_TRACEFS}; }} && mount -t tmpfs tmpfs "$TMPDIR" && mount -o remount,bind,ro /'
    reported = behind(mounts, *LEAST)

    assert ("", 0) == (reported["error"], reported["totals"]["wrong"])
    assert 15 < reported["totals"]["ok"]
    assert str(tmp_path) == reported["folder"]
    assert [] == [hook for hook in reported["hooks"] if "CAP_" in hook["reason"]]
    assert 10 < sum(hook["attached"] for hook in reported["hooks"])


@needs_tools
@pytest.mark.full_length
def test_without_a_folder_for_temporary_files_shared_memory_will_do():
    """Containers have it even where everything else is read-only."""
    reported = behind(f"{READ_ONLY} && mount -t tmpfs tmpfs /dev/shm")

    assert ("", 0) == (reported["error"], reported["totals"]["wrong"])
    assert 15 < reported["totals"]["ok"]
    assert "/dev/shm" == reported["folder"]


@needs_tools
def test_a_full_disk_is_named_and_nothing_is_left_on_it(tmp_path):
    """One line, with how much room is needed."""
    script = f'{NOTHING_SHARED} && mount -t tmpfs -o size=2m t "{tmp_path}" && "$@"; ls -A "{tmp_path}"'
    line = [*PRIVATE, "sh", "-c", script, "sh", *COMMAND, "--folder", str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=SECONDS, check=False)

    assert "" == done.stdout
    reported = f'folder "{tmp_path}": no space left on device; name another with --folder, with 16 MiB to spare'
    assert reported == done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@needs_tools
@pytest.mark.full_length
def test_a_missing_writable_folder_is_reported():
    """Before anything is tried, with the remedy."""
    script = f"{READ_ONLY} && for at in /dev /dev/shm /run; do mount -o remount,bind,ro $at; done 2>/dev/null; true"
    line = [*PRIVATE, "sh", "-c", f'{script}; exec "$@"', "sh", *COMMAND, "--quick"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=SECONDS, check=False, cwd="/")

    assert 1 == done.returncode
    assert "no folder is writable; mount a tmpfs at /tmp, or name a folder with --folder" in done.stderr


@needs_tools
@pytest.mark.full_length
@pytest.mark.parametrize("mount", ["mount -t cgroup2 none /sys/fs/cgroup", "mount -t tmpfs none /sys/fs/cgroup"])
def test_whatever_is_seen_of_cgroups_the_numbers_are_the_same(mount):
    """A tree of version 2, and none at all; names of workloads distinguish their rows."""
    reported = behind(f"{NOTHING_SHARED} && umount -R /sys/fs/cgroup && {mount}")

    assert ("", 0) == (reported["error"], reported["totals"]["wrong"])
    assert 15 < reported["totals"]["ok"]


@needs_tools
def test_in_a_user_namespace_it_reports_that_capabilities_do_not_count():
    """As in a rootless container, where all of them seem to be there."""
    line = ["unshare", "--user", "--map-root-user", *COMMAND]
    done = subprocess.run(line, capture_output=True, text=True, timeout=SECONDS, check=False)
    if "unshare" in done.stderr:
        pytest.skip(done.stderr)

    assert 1 == done.returncode
    assert "the capabilities are valid only in this user namespace; run rootful" in done.stderr
