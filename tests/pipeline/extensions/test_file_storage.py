# SPDX-License-Identifier: Apache-2.0
"""The extension file_storage: one folder for one process, on disks that are full, read-only, or somebody else's."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from mounts import in_mounts
from pydantic import ValidationError
from stored_payloads import payload

from ebpf_sidecar.pipeline.checks import FindingVerdict
from ebpf_sidecar.pipeline.clock import SystemClock
from ebpf_sidecar.pipeline.component import ComponentKind
from ebpf_sidecar.pipeline.errors import SidecarError
from ebpf_sidecar.pipeline.extensions.file_storage import SIZE, FileStorage, FileStorageSettings
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.testing import RecordedTelemetry, fake_context

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="not root")
BEGIN = "import sys; sys.path[:] = sys.argv.pop().split(':')\n"


@pytest.fixture
def make():
    """Makes extensions, which are shut down after the test."""
    made = []

    def making(directory, *, telemetry=None, **more):
        context = fake_context(ComponentKind.EXTENSION, "file_storage", telemetry=telemetry)
        settings = FileStorageSettings(directory=directory, **{"timeout": "50ms"} | more)
        made.append(FileStorage(settings, replace(context, clock=SystemClock())))
        return made[-1]

    yield making
    for each in made:
        each.shutdown()


def run(code, *arguments, before=()):
    """The output of a Python process."""
    line = [sys.executable, "-c", BEGIN + code, *map(str, arguments), ":".join(sys.path)]
    done = subprocess.run([*before, *line], capture_output=True, text=True, timeout=120, check=False)
    assert 0 == done.returncode, done.stderr
    return done.stdout.strip()


HOLD = """
import os, sys
from pathlib import Path
from ebpf_sidecar.pipeline.checks import FindingVerdict
from ebpf_sidecar.pipeline.clock import SystemClock
from ebpf_sidecar.pipeline.errors import SidecarError
from ebpf_sidecar.pipeline.storage.folder import StorageFolder
try:
    StorageFolder(Path(sys.argv[1]), create=False, mode=0o750).claim(SystemClock(), 0.05)
    print("mine")
except SidecarError as error:
    print(error)
"""


def test_a_second_process_is_refused_and_told_who_has_the_folder(tmp_path, make):
    """And gets it as soon as the first is gone, however it went."""
    extension = make(tmp_path)
    extension.start()
    refused = run(HOLD, tmp_path)
    extension.shutdown()
    first, second = run(HOLD, tmp_path), run(HOLD, tmp_path)

    why = f'"{tmp_path}" is in use by process {os.getpid()}; stop that process, or choose another directory'
    assert [why, "mine", "mine"] == [refused, first, second]


def test_two_extensions_of_one_service_cannot_share_a_folder_either(tmp_path, make):
    """The message does not name a process, since it is the same one."""
    make(tmp_path).start()

    with pytest.raises(SidecarError, match="in use by another file_storage of this service; give each a directory"):
        make(tmp_path).start()


def test_who_waits_for_the_folder_gets_it_when_the_other_has_gone(tmp_path, make):
    """A restart, in which the old process needs a moment to end."""
    code = BEGIN + HOLD + "sys.stdout.flush()\nsys.stdin.read()"
    line = [sys.executable, "-c", code, str(tmp_path), ":".join(sys.path)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert "mine" == process.stdout.readline().strip()
        waiting = make(tmp_path, timeout="20s")
        process.stdin.close()
        waiting.start()


@pytest.mark.parametrize("name", ["otlp", "otlp/second", "otlp/a b", "otlp/../../etc", "otlp/µ"])
def test_each_sender_has_a_file_of_its_own(tmp_path, make, name):
    """Whatever its name: no path leads out of the folder."""
    extension = make(tmp_path)
    extension.start()
    store = extension.open_store(name)
    store.add({1: payload(1)})
    store.close()
    [file] = tmp_path.glob("exporter_*.sqlite3")

    assert 1 == extension.open_store(name).last()
    assert 0 == extension.open_store("otlp/other").last()
    assert file.name.startswith("exporter_otlp")


def test_what_waits_since_an_earlier_run_is_logged(tmp_path, make, caplog):
    """So that a user sees that it worked."""
    caplog.set_level("INFO")
    extension = make(tmp_path)
    extension.start()
    store = extension.open_store("otlp")
    store.add({1: payload(1, points=42)})
    store.close()
    extension.open_store("otlp").close()

    assert ["42 data points for otlp wait since an earlier run"] == [record.message for record in caplog.records]


def test_the_size_of_all_files_is_shown(tmp_path, make):
    """With logs and what was put aside; 0 once the folder is gone."""
    telemetry = RecordedTelemetry()
    extension = make(tmp_path / "queues", telemetry=telemetry, create_directory=True)
    extension.start()
    (tmp_path / "queues" / "more").write_bytes(bytes(5000))
    size = telemetry.gauges[SIZE.name]()
    for each in (tmp_path / "queues").iterdir():
        each.unlink()
    (tmp_path / "queues").rmdir()

    assert 5000 < size < 5100
    assert 0 == telemetry.gauges[SIZE.name]()


def test_a_folder_is_created_with_the_permissions_that_were_asked_for(tmp_path, make):
    """And those above it."""
    make(tmp_path / "a" / "b", create_directory=True, directory_permissions="0700").start()

    assert 0o700 == (tmp_path / "a" / "b").stat().st_mode & 0o777


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"directory": "absent"}, 'absent" does not exist; create it, or set create_directory: true'),
        ({"directory": "file"}, 'file" is not a directory; choose another one'),
        ({"directory": "file/below", "create_directory": True}, 'file" is not a directory; choose another one'),
        ({"directory": "/proc/sys/x", "create_directory": True, "timeout": "0s"}, "write at least 1ms"),
        ({"directory": ".", "directory_permissions": "rwx"}, "directory_permissions"),
        ({"directory": ".", "max_size": "1kB"}, "greater than or equal to 1048576"),
    ],
)
def test_what_cannot_work_is_found_by_the_check(tmp_path, written, message):
    """Before anything is started or created."""
    (tmp_path / "file").touch()

    with pytest.raises(ValidationError, match=message):
        FileStorageSettings(**written | {"directory": tmp_path / written["directory"]})
    assert [tmp_path / "file"] == [*tmp_path.iterdir()]


CHECK = """
import sys
from pydantic import ValidationError
from ebpf_sidecar.pipeline.extensions.file_storage import FileStorageSettings
try:
    FileStorageSettings(directory=sys.argv[1] + "/queues", create_directory=True)
except ValidationError as error:
    print(error)
"""


@ROOT_ONLY
def test_a_read_only_file_system_is_found_by_the_check_and_at_the_start(tmp_path):
    """Whatever the permissions say."""
    mount = in_mounts(f"mount -t tmpfs -o ro,size=1m tmpfs '{tmp_path}'", [])
    checked, started = run(CHECK, tmp_path, before=mount), run(HOLD, tmp_path, before=mount)

    assert f'"{tmp_path}/queues" is on a read-only file system; choose another directory' in checked
    assert f'"{tmp_path}" is on a read-only file system; choose another directory' == started


@ROOT_ONLY
def test_a_folder_that_the_service_may_not_write_is_named(tmp_path):
    """Root without capabilities is a user like others."""
    os.chown(tmp_path, 12345, 12345)
    tmp_path.chmod(0o755)
    without = "from ebpf_sidecar.pipeline.process.capabilities import limit_capabilities\nlimit_capabilities([])\n"

    why = f'"{tmp_path}" cannot be written by user 0; change its owner, or choose another directory'
    assert why == run(without + HOLD, tmp_path)


@pytest.mark.parametrize("below", ["", "new/folder"])
def test_the_doctor_says_whether_the_service_may_write_there(tmp_path, below):
    """Without the capabilities that it will not have; and where the folder is still to be created."""
    check = [each.examine for each in Plugins().checks(ComponentKind.EXTENSION, "file_storage")]
    settings = FileStorageSettings(directory=tmp_path / below, create_directory=True)
    [good] = [finding for examine in check for finding in examine(settings).findings]
    if os.geteuid() == 0:
        os.chown(tmp_path, 12345, 12345)
    tmp_path.chmod(0o555)
    [bad] = [finding for examine in check for finding in examine(settings).findings]
    tmp_path.chmod(0o755)

    assert (FindingVerdict.OK, FindingVerdict.PROBLEM) == (good.verdict, bad.verdict)
    assert good.found.startswith("can be written, ")
    assert f"{tmp_path} cannot be written by user {os.geteuid()} without capabilities" == bad.found
    assert f"chown {os.geteuid()} {tmp_path}" == bad.fix


@ROOT_ONLY
def test_a_disk_that_is_full_for_a_while_loses_nothing(tmp_path):
    """Batches wait in memory, go to disk when there is room, and are delivered from a disk that is full again."""
    mount = in_mounts(f"mount -t tmpfs -o size=1m tmpfs '{tmp_path}'", [])
    outcome = json.loads(run("import full_disk; full_disk.main(sys.argv[1])", tmp_path, before=mount))

    assert {
        "errors": ["database or disk is full"],
        "in memory": 10,
        "left in memory": 0,
        "recovered": True,
        "lost": 0,
        "drops": {},
        "delivered": list(range(12)),
        "ledger": {"restored": 12000, "sent": 12000},
    } == outcome
