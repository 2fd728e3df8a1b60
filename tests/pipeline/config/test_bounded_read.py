# SPDX-License-Identifier: Apache-2.0
"""Files that never end, never return data, or are not files."""

from __future__ import annotations

import io
import os
import threading
from contextlib import suppress

import pytest

from ebpf_sidecar.pipeline.config.bounded_read import MAX_BYTES, UnreadableError, read_file, read_stream


@pytest.mark.parametrize("size", [0, 1, 70_000, MAX_BYTES])
def test_a_file_up_to_the_limit_is_read_whole(tmp_path, size):
    """To the last byte."""
    (tmp_path / "f").write_bytes(b"x" * size)

    assert b"x" * size == read_file(tmp_path / "f")


def test_more_than_the_limit_is_refused(tmp_path):
    """A sparse file of a terabyte costs no memory."""
    with (tmp_path / "f").open("wb") as file:
        file.truncate(1 << 40)

    with pytest.raises(UnreadableError, match="is longer than 1 MiB; give a smaller file"):
        read_file(tmp_path / "f")
    with pytest.raises(UnreadableError, match="is longer than 1 MiB"):
        read_stream(io.BytesIO(b"x" * (MAX_BYTES + 1)))


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/urandom", "/dev/full", "/dev/tty"])
def test_a_device_is_refused_without_being_opened(device):
    """It may never end, and opening some has effects."""
    with pytest.raises(UnreadableError, match="is a device; give a file or a pipe"):
        read_file(device)


def test_the_null_device_is_empty():
    """As people use it for "nothing"."""
    assert b"" == read_file("/dev/null")


def test_files_of_the_kernel_that_have_no_length_are_read():
    """Their reported length is 0."""
    assert read_file("/proc/self/status").startswith(b"Name:")


def test_what_cannot_be_opened_is_reported_with_the_reason(tmp_path):
    """With the system's error message."""
    for path, reason in (
        (tmp_path / "missing", "no such file or directory"),
        (tmp_path, "is a directory"),
        ("/dev/fd/999999999", "bad file descriptor"),
        ("a\0b", "null"),
    ):
        with pytest.raises(UnreadableError, match=f"cannot be read: .*{reason}"):
            read_file(path)


def test_a_named_pipe_waits_for_its_writer(tmp_path):
    """A writer that comes late, and writes in pieces, is read to the end."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write():
        with pipe.open("wb", buffering=0) as file:
            file.write(b"first ")
            file.write(b"x" * 100_000)

    writer = threading.Thread(target=write)
    writer.start()
    content = read_file(pipe)
    writer.join()

    assert b"first " + b"x" * 100_000 == content


def test_a_silent_pipe_times_out(tmp_path):
    """Without a writer, and with one that has it open but writes nothing."""
    os.mkfifo(tmp_path / "pipe")
    reading, writing = os.pipe()
    try:
        for path in (tmp_path / "pipe", f"/dev/fd/{reading}"):
            with pytest.raises(UnreadableError, match=r"is a pipe without data for 0\.05 s"):
                read_file(path, timeout=0.05)
    finally:
        os.close(reading)
        os.close(writing)


def test_a_shells_substitution_is_read_also_when_its_command_has_ended():
    """``<(command)`` is a descriptor of ours; an empty one is at its end at once."""
    for content in (b"receivers:", b""):
        reading, writing = os.pipe()
        os.write(writing, content)
        os.close(writing)
        try:
            assert content == read_file(f"/dev/fd/{reading}", timeout=5)
        finally:
            os.close(reading)


def test_an_endless_pipe_is_refused(tmp_path):
    """Its writer is not waited for."""
    os.mkfifo(tmp_path / "pipe")

    def write():
        with suppress(BrokenPipeError), (tmp_path / "pipe").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 65536)

    writer = threading.Thread(target=write)
    writer.start()
    with pytest.raises(UnreadableError, match="is longer than 1 MiB"):
        read_file(tmp_path / "pipe")
    writer.join()
