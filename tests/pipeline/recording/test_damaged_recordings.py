# SPDX-License-Identifier: Apache-2.0
"""Files that are not recordings, or damaged ones: refused with the reason, or replayed up to the damage."""

import errno
import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import HEADER, OWNERS, read, write
from strategies import mutated, mutations

from ebpf_sidecar.pipeline import Kind, SidecarError
from ebpf_sidecar.pipeline.recording import file
from ebpf_sidecar.pipeline.recording.file import Recording, RecordingWriter
from ebpf_sidecar.pipeline.testing import NOON, frame
from ebpf_sidecar.pipeline.timeline import Instant
from ebpf_sidecar.receivers.replayed import Replayed


def with_header(**changes):
    """The compressed text of a recording whose header differs."""
    header = {"format": file.FORMAT, "version": 1, "product": "0", "kernel": "k", "machine": "m"}
    header |= {"recorded_at": "t", "interval": 1.0, "resource": {}}
    return gzip.compress((json.dumps({**header, **changes}) + "\n").encode())


NO_RECORDING = 'is not a recording; make one with "ebpf-sidecar record"'
WRONG = {
    "plain text": (b"receivers:\n  ebpf: {}\n", NO_RECORDING),
    "an empty file": (b"", NO_RECORDING),
    "gzip of something else": (gzip.compress(b"hello\n"), NO_RECORDING),
    "gzip of other JSON": (gzip.compress(b"[1, 2]\n"), NO_RECORDING),
    "gzip of bytes": (gzip.compress(b"\xff\xfe\n"), NO_RECORDING),
    "a foreign format": (with_header(format="pcap"), NO_RECORDING),
    "no interval": (with_header(interval=0), NO_RECORDING),
    "an interval without end": (with_header(interval=1e300), NO_RECORDING),
    "an infinite interval": (with_header(interval=float("inf")), NO_RECORDING),
    "an interval that is no number": (with_header(interval=[1]), NO_RECORDING),
    "a kernel that is no text": (with_header(kernel=["6.18"]), NO_RECORDING),
    "a resource that is no mapping": (with_header(resource="host"), NO_RECORDING),
    "JSON nested without end": (gzip.compress(b"[" * 100_000 + b"\n"), NO_RECORDING),
    "more lists than memory": (gzip.compress(b"[" + b"[]," * 2**20 + b"1]\n"), NO_RECORDING),
    "a resource of numbers": (with_header(resource={"a": 1}), NO_RECORDING),
    "cut off in the header": (with_header()[:30], NO_RECORDING),
    "a newer version": (
        with_header(version=2),
        "has format version 2, and this program reads 1; use a matching ebpf-sidecar",
    ),
    "no batch": (with_header(), "holds no data; record for longer than an interval"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_that_is_no_recording_is_refused_with_the_reason(tmp_path, case):
    """The message names the file, what is wrong with it, and what to do."""
    content, said = WRONG[case]
    path = tmp_path / "x"
    path.write_bytes(content)

    with pytest.raises(SidecarError) as refused:
        Recording(path)

    assert f'recording "{path}": {said}' == str(refused.value)


def test_a_missing_file_is_named(tmp_path):
    """The system's own words say why a file cannot be read."""
    path = tmp_path / "gone"

    with pytest.raises(SidecarError) as refused:
        Recording(path)

    assert f'recording "{path}": cannot be read: No such file or directory; give the path of a recording' == str(
        refused.value
    )


def test_a_recording_cut_off_plays_up_to_there(tmp_path):
    """Batches are flushed one by one: what was written before the machine died is not lost."""
    path = tmp_path / "x"
    writer = RecordingWriter(path, HEADER)
    sizes = []
    for value in range(4):
        writer.write([frame("a", [value, value], OWNERS)])
        sizes.append(path.stat().st_size)
    writer.close()
    whole = path.read_bytes()

    for kept, size in enumerate(sizes, start=1):
        path.write_bytes(whole[:size])
        batches, reasons = read(path, damaged=True)

        assert list(range(kept)) == [batch[0].values[0] for batch in batches]
        assert 1 == len(reasons)
        assert "damaged or truncated" in reasons[0]


@given(place=st.floats(0, 1), byte=st.integers(1, 255))
def test_a_damaged_file_never_raises_anything_else(tmp_path_factory, place, byte):
    """Whatever byte is wrong: refused with a reason, or played up to the damage and reported."""
    path = write(tmp_path_factory.mktemp("recordings") / "x", *[[frame("a", [v, v], OWNERS)] for v in range(3)])
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= byte
    path.write_bytes(content)
    try:
        batches, reasons = read(path, damaged=True)
    except SidecarError as refused:
        batches, reasons = [], [str(refused)]

    assert len(batches) <= 3
    assert len(reasons) <= 1


BATCH = {"time": NOON, "rows": {"0": {"ids": [1], "columns": {}}}, "frames": []}
FRAME = {"name": "a", "kind": "counter", "rows": 0, "time": 1, "start": 0, "unit": "", "description": ""}
FRAME |= {"temporality": "cumulative", "scope": ["", ""], "values": {"type": "uint64", "numbers": [1]}}
NONSENSE = [
    [],
    {},
    {**BATCH, "rows": {"0": {"ids": ["x"], "columns": {}}}},
    {**BATCH, "rows": {"0": {"ids": [1], "columns": {"a": {"words": ["x"], "codes": [7]}}}}},
    {**BATCH, "frames": [{**FRAME, "rows": 9}]},
    {**BATCH, "frames": [{**FRAME, "kind": "picture"}]},
    {**BATCH, "frames": [{**FRAME, "kind": "histogram"}]},
    {**BATCH, "frames": [{**FRAME, "values": {"type": "uint64", "numbers": [1, 2]}}]},
    {**BATCH, "frames": [{**FRAME, "values": {"type": "uint64", "numbers": [-1]}}]},
    {**BATCH, "frames": [{**FRAME, "values": {"type": "object", "numbers": [None]}}]},
    {**BATCH, "frames": [{**FRAME, "values": {"type": "no such type", "numbers": [1]}}]},
    {**BATCH, "frames": [{**FRAME, "name": 7}]},
    {**BATCH, "frames": [{**FRAME, "name": ["a"]}]},
    {**BATCH, "frames": [{**FRAME, "unit": 1}]},
    {**BATCH, "frames": [{**FRAME, "time": 2**63}]},
    {**BATCH, "frames": [{**FRAME, "time": -1}]},
    {**BATCH, "frames": [{**FRAME, "time": 1e30}]},
    {**BATCH, "frames": [{**FRAME, "start": 2**64}]},
    {**BATCH, "frames": [{**FRAME, "start": [2**64]}]},
    {**BATCH, "frames": [{**FRAME, "scope": [1, 2]}]},
    {**BATCH, "frames": [{**FRAME, "resource": "host"}]},
    {**BATCH, "frames": [{**FRAME, "resource": {"a": 1}}]},
    {**BATCH, "frames": [{**FRAME, "kind": "histogram", "values": {"type": "uint64", "numbers": [[1, 2, 3]]},
                          "bounds": {"type": "float64", "numbers": [2, 1]},
                          "sums": {"type": "float64", "numbers": [0]}}]},
    {**BATCH, "time": 2**70},
    {**BATCH, "time": "now"},
    {**BATCH, "rows": {"0": {"ids": [[1]], "columns": {}}}},
    {**BATCH, "rows": {"0": {"ids": [1], "columns": {"a": {"words": [1], "codes": [0]}}}}},
    {**BATCH, "rows": {"0": {"ids": [1], "columns": {"a": {"words": ["x"], "codes": [[0]]}}}}},
    {**BATCH, "rows": {"0": {"ids": [1], "columns": {"a": {"type": "int64", "numbers": [[1]]}}}}},
]  # fmt: skip


@pytest.mark.parametrize("line", NONSENSE, ids=range(len(NONSENSE)))
def test_a_line_that_is_no_batch_ends_the_recording(tmp_path, line):
    """Valid JSON of the wrong shape is reported like any damage; the batches before it are good."""
    path = write(tmp_path / "x", [frame("a", [1])])
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + json.dumps(line).encode() + b"\n"))
    batches, reasons = read(path, damaged=True)

    assert (1, 1) == (len(batches), len(reasons))


def test_a_line_without_end_is_not_read_into_memory(tmp_path, monkeypatch):
    """A compressed bomb is cut off at the longest line."""
    path = write(tmp_path / "x", [frame("a", [1])], [frame("a", [1] * 5000)])
    monkeypatch.setattr(file, "_MAX_LINE", 2000)
    batches, reasons = read(path, damaged=True)

    assert 1 == len(batches)
    assert "a line has no end" in reasons[0]


def nested(depth):
    """A line of JSON that is nested too deeply for the parser."""
    return b'{"time": ' + b"[" * depth + b"]" * depth + b"}\n"


def test_a_line_nested_without_end_ends_the_recording(tmp_path):
    """The parser's recursion limit is a kind of damage, too."""
    path = write(tmp_path / "x", [frame("a", [1])])
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + nested(100_000)))
    batches, reasons = read(path, damaged=True)

    assert (1, 1) == (len(batches), len(reasons))


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, kind):
    """A pipe cannot be read twice, and one without a writer would block for ever."""
    path = tmp_path / "x" if kind == "pipe" else Path("/dev/zero")
    if kind == "pipe":
        os.mkfifo(path)

    with pytest.raises(SidecarError, match="is not a regular file; copy its content to one"):
        Recording(path)


def test_a_batch_that_no_reader_would_accept_is_refused_and_nothing_is_written(tmp_path, monkeypatch):
    """Writer and reader have the same bound."""
    monkeypatch.setattr(file, "_MAX_LINE", 2000)
    writer = RecordingWriter(tmp_path / "x", HEADER)
    writer.write([frame("a", [1])])
    with pytest.raises(ValueError, match="more than a reader accepts; record fewer rows"):
        writer.write([frame("a", [1] * 5000)])
    writer.close()

    assert [1] == [batch[0].values[0] for batch in read(tmp_path / "x")]


@given(changes=st.lists(mutations(), min_size=1, max_size=3))
def test_whatever_a_line_holds_is_played_or_reported(tmp_path_factory, changes):
    """Valid JSON with any odd value anywhere: nothing that the reader lets through fails when it is moved in time."""
    path = write(tmp_path_factory.mktemp("recordings") / "x", *[[frame("a", [v, v], OWNERS)] for v in range(2)])
    header, *lines = gzip.decompress(path.read_bytes()).splitlines()
    for way, odd in changes:
        place = way[0] % len(lines)
        lines[place] = json.dumps(mutated(json.loads(lines[place]), way[1:], odd)).encode()
    path.write_bytes(gzip.compress(b"\n".join([header, *lines, b""])))
    try:
        batches, _ = read(path, damaged=True)
    except SidecarError:
        return

    replayed = Replayed(NOON, NOON, 1.0, {"a": "b"})
    for batch in batches:
        replayed.frames(batch, Instant(NOON, 0))


def test_values_that_are_no_numbers_are_refused_and_nothing_is_written(tmp_path):
    """A frame of objects does not spoil the file."""
    writer = RecordingWriter(tmp_path / "x", HEADER)
    writer.write([frame("a", [1])])
    with pytest.raises(ValueError, match="object is not a number type"):
        writer.write([frame("a", [1]).with_values(np.array([None]))])
    writer.write([frame("a", [2], kind=Kind.GAUGE)])
    writer.close()
    writer.close()

    assert [1, 2.0] == [batch[0].values[0] for batch in read(tmp_path / "x")]


def test_an_unwritable_file_is_named(tmp_path):
    """The message says which file and why."""
    with pytest.raises(SidecarError, match=r'recording ".*": cannot be written: Is a directory; choose another file'):
        RecordingWriter(tmp_path, HEADER)


def test_a_full_disk_is_named():
    """Linux' full device stands for a full disk."""
    with pytest.raises(SidecarError, match="cannot be written: No space left on device"):
        write(Path("/dev/full"), [frame("a", [1] * 2000)])


def test_an_unreadable_file_names_the_user_that_must_read_it(tmp_path, monkeypatch):
    """Root is refused, too, once it has dropped the privilege to read everything."""
    path = write(tmp_path / "x", [frame("a", [1])])

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(file.gzip, "open", refuse)
    with pytest.raises(SidecarError, match=r"Permission denied; make it readable .* service::privileges::keep"):
        Recording(path)
