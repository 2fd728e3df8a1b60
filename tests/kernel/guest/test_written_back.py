# SPDX-License-Identifier: Apache-2.0
"""Pages written back, of the whole machine: against the kernel's own count."""

import os
import time
from pathlib import Path

import pytest

VM = Path("/proc/sys/vm")
PAGES = 2000


@pytest.fixture
def settings():
    """Change settings of the machine's memory until the test ends."""
    before = {}

    def settings(**values):
        for name, value in values.items():
            before.setdefault(name, (VM / name).read_text())
            (VM / name).write_text(str(value))

    yield settings
    for name, text in before.items():
        (VM / name).write_text(text)


@pytest.fixture
def written(load_once, rows):
    """Pages so far, once nothing is left to write: by the kernel's count, by the probe's, and our own ones."""

    def written():
        until = time.monotonic() + 60
        while kernels("nr_dirty") or kernels("nr_writeback"):
            assert time.monotonic() < until
            time.sleep(0.1)
        ours = [
            rows(load_once("page_cache", "syscalls"), "cache_stats_map", pid)["written_back"][0]
            for pid in (None, os.getpid())
        ]
        return [kernels("nr_written"), *ours]

    return written


def kernels(name):
    """A number of pages of the whole machine, including what each CPU has not reported yet."""
    (VM / "stat_refresh").write_text("1")
    return int(dict(map(str.split, Path("/proc/vmstat").read_text().splitlines()))[name])


def dirty(path):
    """A new file that is not on disk yet."""
    path.write_bytes(os.urandom(PAGES * 4096))
    return path


@pytest.mark.proves("ebpf.page_cache.written_back", oracle="nr_written in /proc/vmstat")
def test_pages_that_fsync_writes_equal_vmstat_and_are_the_callers(written, settings, tmp_path):
    """The flusher sleeps meanwhile."""
    os.sync()
    before = written()
    settings(dirty_writeback_centisecs=0)

    with dirty(tmp_path / "synced").open("rb") as file:
        os.fsync(file.fileno())

    settings(dirty_writeback_centisecs=10)
    machine, counted, ours = (now - was for now, was in zip(written(), before, strict=True))
    assert PAGES == ours
    assert PAGES <= machine == counted


@pytest.mark.proves("ebpf.page_cache.written_back", oracle="nr_written in /proc/vmstat")
def test_pages_that_the_flusher_writes_equal_vmstat_and_are_not_the_callers(written, settings, tmp_path):
    """It looks for old pages ten times a second."""
    os.sync()
    before = written()
    settings(dirty_writeback_centisecs=10, dirty_expire_centisecs=10)

    dirty(tmp_path / "forgotten")

    machine, counted, ours = (now - was for now, was in zip(written(), before, strict=True))
    assert 0 == ours
    assert PAGES <= machine == counted
