# SPDX-License-Identifier: Apache-2.0
"""The oracles against files whose state in the cache is known."""

import mmap
import os
from pathlib import Path

import pytest

from ebpf_sidecar.receivers.ebpf.selftest.oracles import cached_pages, read_io, resident_pages

PAGE = mmap.PAGESIZE


@pytest.fixture
def ten_pages(tmp_path):
    """A file of ten pages less a byte, in the cache."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * (10 * PAGE - 1))
    return path


def test_pages_just_written_are_resident(ten_pages):
    """A last page that is not full counts."""
    assert 10 == resident_pages(ten_pages)


def test_both_oracles_agree(ten_pages):
    """Where the kernel has both."""
    assert cached_pages(ten_pages) in (10, None)


def test_the_oracles_add_nothing_to_the_cache(ten_pages):
    """Not even the pages it examines: a sparse file stays empty in the cache."""
    sparse = ten_pages.with_name("sparse")
    sparse.touch()
    os.truncate(sparse, 10 * PAGE)

    assert [0, 0] == [resident_pages(sparse) for _ in range(2)]


@pytest.mark.parametrize("prepare", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_a_file_that_is_not_there_or_empty_has_no_pages(ten_pages, prepare):
    """After an unlink there is nothing to ask."""
    prepare(ten_pages)

    assert 0 == resident_pages(ten_pages)
    assert cached_pages(ten_pages) in (0, None)


def test_io_counts_what_a_process_read():
    """Here: our own."""
    before = read_io(os.getpid(), Path("/proc"))
    if not before:
        pytest.skip("this kernel does no I/O accounting")
    with Path(__file__).open("rb") as file:
        size = len(file.read())

    assert size <= read_io(os.getpid(), Path("/proc"))["rchar"] - before["rchar"]


def test_io_of_a_process_that_is_gone_is_empty(tmp_path):
    """Or may not be read."""
    assert {} == read_io(1, tmp_path)
