# SPDX-License-Identifier: Apache-2.0
"""A disk that does not answer: a file system that is frozen, as for a snapshot, while the canary writes to it."""

import fcntl
import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest
from waiting import until

FREEZE, THAW = 0xC0045877, 0xC0045878

pytestmark = pytest.mark.parallel


@pytest.fixture
def disk(tmp_path):
    """A separate file system on a loop device."""
    image, folder = tmp_path / "image", tmp_path / "mounted"
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("mkfs.ext4 is not installed")
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    if subprocess.run(["mount", "-o", "loop", str(image), str(folder)], check=False).returncode:
        pytest.skip("no loop device can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def frozen(folder):
    """Whoever writes there waits, and cannot be killed."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, FREEZE, 0)
        yield
    finally:
        fcntl.ioctl(descriptor, THAW, 0)
        os.close(descriptor)


def test_a_disk_that_hangs_stops_no_reading(serve, disk):
    """All that is measured continues; the hooks are examined again once the disk answers."""
    service = serve(probes="[page_cache]", canary_interval="1s", before=("env", f"TMPDIR={disk}"))
    alive = {"hook": "page_remove"}
    assert until(lambda: 1 == service.page().sum("ebpf_probe_live", **alive))

    with frozen(disk):
        assert until(lambda: "the canary's actions have not finished for 1 s" in service.log.read_text())
        before = service.page().sum("ebpf_sidecar_exporter_sent_metric_points_total")
        service.settled()
        assert before < service.page().sum("ebpf_sidecar_exporter_sent_metric_points_total")
    assert until(lambda: 1 == service.page().sum("ebpf_probe_live", **alive))

    assert "is attached but does not fire" not in service.log.read_text()
