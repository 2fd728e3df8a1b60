# SPDX-License-Identifier: Apache-2.0
"""Calls to the C library."""

import ctypes
import errno
import os
import subprocess
import sys

import pytest

from ebpf_sidecar.pipeline.process.libc import libc_call, numbered_call

NO_CALL = 100_000
"""No system call of any machine has this number."""


def test_a_result_is_returned():
    """Python knows it, too."""
    assert os.getpid() == libc_call("getpid")


def test_numbers_and_addresses_are_passed_in_full(tmp_path):
    """64 bits: an address, and a place in a file behind 4 GiB."""
    text, place = ctypes.create_string_buffer(b"abcdef"), 5 << 30
    with (tmp_path / "sparse").open("w+b") as file:
        written = libc_call("pwrite64", file.fileno(), ctypes.addressof(text), 3, place)
        file.seek(place)

        assert (3, b"abc") == (written, file.read())


def test_bytes_and_buffers_are_pointers_and_none_is_the_null_pointer(tmp_path):
    """A null pointer in place of a path is a bad address."""
    (tmp_path / "target").touch()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    found = ctypes.create_string_buffer(4096)
    length = libc_call("readlink", os.fsencode(tmp_path / "link"), found, len(found))

    assert (os.fsencode(tmp_path / "target"), length) == (found.value, len(found.value))
    with pytest.raises(OSError, match="Bad address: 'readlink'"):
        libc_call("readlink", None, found, len(found))


def test_a_failure_has_errno_its_text_and_the_name():
    """As if Python itself had made the call."""
    with pytest.raises(OSError, match=r"^\[Errno 9\] Bad file descriptor: 'fsync'$") as caught:
        libc_call("fsync", -1)

    assert (errno.EBADF, "fsync") == (caught.value.errno, caught.value.filename)


def test_a_failed_system_call_has_the_name_that_it_was_given():
    """Not that of the function that makes all of them."""
    with pytest.raises(OSError, match="Function not implemented: 'novelty'") as caught:
        numbered_call("novelty", NO_CALL, 1, None, b"x")

    assert errno.ENOSYS == caught.value.errno


def test_a_function_that_the_library_lacks_is_not_implemented():
    """As musl lacks mallopt."""
    with pytest.raises(OSError, match="'mallopt_of_tomorrow'") as caught:
        libc_call("mallopt_of_tomorrow")

    assert errno.ENOSYS == caught.value.errno


def test_isolated_children_can_afford_it():
    """It loads none of the libraries."""
    code = "import ebpf_sidecar.pipeline.process.libc, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)

    assert not {"asyncio", "click", "numpy", "pydantic", "subprocess"} & set(run.stdout.split())
