# SPDX-License-Identifier: Apache-2.0
"""Target selection on the running service, read from /metrics."""

import os
from pathlib import Path

import pytest

from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import find_hierarchy

NAME = f"sidecar-service-{os.getpid()}"

pytestmark = pytest.mark.kernel_alone


@pytest.fixture
def cgroup():
    """Make a cgroup when the test requests it."""
    folder = find_hierarchy(Path("/sys/fs/cgroup")).root / NAME

    def cgroup():
        folder.mkdir()
        return folder

    yield cgroup
    folder.rmdir()


@pytest.fixture
def work_in(work):
    """Run a workload in a cgroup: we join it meanwhile."""

    def work_in(folder, *arguments):
        home = own_cgroup(folder)
        (folder / "cgroup.procs").write_text(str(os.getpid()))
        try:
            return work(*arguments)
        finally:
            (home / "cgroup.procs").write_text(str(os.getpid()))

    return work_in


def own_cgroup(folder):
    """The directory of our own cgroup in the hierarchy of ``folder``."""
    hierarchy = find_hierarchy(Path("/sys/fs/cgroup"))
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    wanted = "" if hierarchy.controller == "v2" else hierarchy.controller
    return folder.parent / next(path for _, names, path in lines if wanted in names.split(",")).lstrip("/")


def test_a_cgroup_that_comes_later_is_measured_and_nothing_else(serve, cgroup, work, work_in, tmp_path):
    """The first reading after it was made is enough; its absence before was reported."""
    service = serve(targets=f"{{cgroups: [/{NAME}], kernel_threads: false}}")
    path = tmp_path / "file"
    path.write_bytes(b"x" * (1 << 20))
    folder = cgroup()
    service.settled()
    work("outside", "files.py", "sequential", path, 1, 4096)
    work_in(folder, "inside", "files.py", "sequential", path, 1, 4096)
    page = service.settled()

    rows = page.rows("ebpf_cache_read_attempts_total")
    assert 256 <= page.sum("ebpf_cache_read_attempts_total", comm="inside")
    assert {f"/{NAME}"} == {dict(labels)["process_linux_cgroup"] for labels in rows}
    assert {} == page.rows("ebpf_syscall_duration_seconds_count", comm="outside")
    assert f'no cgroup matches "/{NAME}" now' in service.log.read_text()
