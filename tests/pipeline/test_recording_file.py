# SPDX-License-Identifier: Apache-2.0
import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import frames, nasty_text, row_sets

from ebpf_sidecar.pipeline import Kind, RowSet, SidecarError, Temporality, Text, recording_file
from ebpf_sidecar.pipeline.frame import Scope
from ebpf_sidecar.pipeline.recording_file import Header, Recording, RecordingWriter
from ebpf_sidecar.pipeline.testing import NOON, frame

HEADER = Header("0.1.0", "6.18.44", "x86_64", "2026-01-01T12:00:00+00:00", 1.0, {"os.type": "linux"})
OWNERS = RowSet.of([{"process.executable.name": name} for name in ("dd", "sh")])


def write(path, *batches, header=HEADER):
    """A recording of those batches."""
    writer = RecordingWriter(path, header)
    for batch in batches:
        writer.write(batch)
    writer.close()
    return path


def read(path, damaged=None):
    """The batches of a recording."""
    reasons = []
    batches = [batch.frames for batch in Recording(path).batches(reasons.append)]

    assert damaged is not None or [] == reasons
    return batches if damaged is None else (batches, reasons)


def plain(value):
    """A frame or a part of it in plain values that can be compared, types of numbers included."""
    if isinstance(value, np.ndarray):
        return value.dtype.name, value.shape, repr(value.tolist())
    if isinstance(value, Text):
        return value.strings()
    if isinstance(value, RowSet):
        return value.ids.tolist(), {name: plain(column) for name, column in value.columns.items()}
    return value


def described(frame):
    """All parts of a frame."""
    return {name: plain(getattr(frame, name)) for name in type(frame).__dataclass_fields__}


@st.composite
def any_frames(draw):
    """Frames with everything that is optional."""
    drawn = draw(frames(rows=draw(st.none() | st.just(st.just(OWNERS)))))
    starts = st.integers(0, 2**64 - 1)
    size = len(drawn)
    return replace(
        drawn,
        time_unix_nano=draw(st.integers(0, 2**63 - 1)),
        start_time_unix_nano=draw(
            starts | st.lists(starts, min_size=size, max_size=size).map(lambda each: np.array(each, np.uint64))
        ),
        temporality=draw(st.sampled_from(Temporality)),
        resource=draw(st.just({"os.type": "linux"}) | st.dictionaries(nasty_text, nasty_text, max_size=2)),
        scope=Scope(draw(nasty_text), draw(nasty_text)),
    )


BATCHES = st.lists(st.lists(any_frames(), min_size=1, max_size=4), min_size=1, max_size=4)


@given(batches=BATCHES)
def test_what_is_written_is_read(tmp_path_factory, batches):
    """Every part of every frame comes back, numbers to the last bit and of the same type."""
    path = write(tmp_path_factory.mktemp("recordings") / "x", *batches)

    expected = [[described(frame) for frame in batch] for batch in batches]

    assert expected == [[described(frame) for frame in batch] for batch in read(path)]


@given(rows=row_sets())
def test_a_shared_row_set_stays_shared(tmp_path_factory, rows):
    """What was one object, over metrics and batches, is one object again, and is written once."""
    tick = [frame("a", [1] * len(rows), rows), frame("b", [2] * len(rows), rows)]
    path = write(tmp_path_factory.mktemp("recordings") / "x", tick, tick)
    [first, second], [third, _] = read(path)

    assert first.rows is second.rows is third.rows
    assert 1 == gzip.decompress(path.read_bytes()).count(b'"ids":[')


def test_a_row_set_that_returns_is_written_again(tmp_path):
    """Neither writer nor reader keeps row sets that a batch does without."""
    others = RowSet.of([{"device": "sda"}])
    names = {"a": OWNERS, "b": others}
    batches = [[frame(name, [1] * len(names[name]), names[name])] for name in "abba"]
    path = write(tmp_path / "x", *batches)
    lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()[1:]]

    assert [["0"], ["1"], [], ["2"]] == [list(line["rows"]) for line in lines]
    assert [OWNERS.records(), others.records()] == [batch[0].rows.records() for batch in read(path)[:2]]
    assert [others.records(), OWNERS.records()] == [batch[0].rows.records() for batch in read(path)[2:]]


def test_columns_keep_their_types(tmp_path):
    """Numbers of any width, truth values and text come back as what they were."""
    columns = {
        "pid": np.array([1, -2], np.int32),
        "big": np.array([2**64 - 1, 0], np.uint64),
        "ratio": np.array([0.1, np.inf]),
        "small": np.array([np.nan, 0.1], np.float32),
        "flag": np.array([True, False]),
        "text": Text.of(["a", ""]),
    }
    rows = RowSet(np.arange(2), columns)
    [[back]] = read(write(tmp_path / "x", [frame("a", [1, 2], rows)]))

    assert plain(rows) == plain(back.rows)


def test_words_that_no_row_has_are_not_written(tmp_path):
    """A source may know more names than it shows; recordings are given to others."""
    rows = RowSet([1, 2], {"process.executable.name": Text(np.array([2, 0]), ("dd", "secret", "sh"))})
    path = write(tmp_path / "x", [frame("a", [1, 2], rows)])

    assert b"secret" not in gzip.decompress(path.read_bytes())
    assert ["sh", "dd"] == read(path)[0][0].rows.columns["process.executable.name"].strings()


def test_the_header_comes_back(tmp_path):
    """Who recorded what, when and on which kernel."""
    recording = Recording(write(tmp_path / "x", [frame("a", [1])]))

    assert HEADER == recording.header
    assert NOON == recording.started


def test_the_same_data_make_the_same_file(tmp_path):
    """Neither the file's name nor the time of writing is in it."""
    one, two = (write(tmp_path / name, [frame("a", [1, 2], OWNERS)]).read_bytes() for name in "ab")

    assert one == two


def test_the_format_is_as_documented(tmp_path):
    """The bytes of a recording, decompressed: a change here needs a new version."""
    path = write(tmp_path / "x", [frame("ebpf.block.io.errors", [5, 7], OWNERS, unit="{error}")])
    header, batch = (json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines())

    expected = {
        "format": "ebpf-sidecar recording",
        "version": 1,
        "product": "0.1.0",
        "kernel": "6.18.44",
        "machine": "x86_64",
        "recorded_at": "2026-01-01T12:00:00+00:00",
        "interval": 1.0,
        "resource": {"os.type": "linux"},
    }
    rows = {"ids": [0, 1], "columns": {"process.executable.name": {"words": ["dd", "sh"], "codes": [0, 1]}}}
    errors = {
        "name": "ebpf.block.io.errors",
        "kind": "counter",
        "rows": 0,
        "time": NOON,
        "start": 0,
        "unit": "{error}",
        "description": "",
        "temporality": "cumulative",
        "values": {"type": "uint64", "numbers": [5, 7]},
        "scope": ["ebpf_sidecar", ""],
        "resource": {},
    }

    assert expected == header
    assert {"time": NOON, "rows": {"0": rows}, "frames": [errors]} == batch


def test_unknown_keys_of_later_programs_are_ignored(tmp_path):
    """A file with additions of the same version can be read."""
    path = write(tmp_path / "x", [frame("a", [1])])
    lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    path.write_bytes(gzip.compress("".join(json.dumps({**line, "new": 1}) + "\n" for line in lines).encode()))

    assert ["a"] == [batch[0].name for batch in read(path)]


def test_an_empty_batch_is_not_written(tmp_path):
    """A receiver that had nothing to say leaves no trace."""
    assert 1 == len(read(write(tmp_path / "x", [], [frame("a", [1])])))


def with_header(**changes):
    """The compressed text of a recording whose header differs."""
    header = {"format": recording_file.FORMAT, "version": 1, "product": "0", "kernel": "k", "machine": "m"}
    header |= {"recorded_at": "t", "interval": 1.0, "resource": {}}
    return gzip.compress((json.dumps({**header, **changes}) + "\n").encode())


NO_RECORDING = 'is no recording; make one with "ebpf-sidecar record"'
WRONG = {
    "plain text": (b"receivers:\n  ebpf: {}\n", NO_RECORDING),
    "an empty file": (b"", NO_RECORDING),
    "gzip of something else": (gzip.compress(b"hello\n"), NO_RECORDING),
    "gzip of other JSON": (gzip.compress(b"[1, 2]\n"), NO_RECORDING),
    "gzip of bytes": (gzip.compress(b"\xff\xfe\n"), NO_RECORDING),
    "a foreign format": (with_header(format="pcap"), NO_RECORDING),
    "no interval": (with_header(interval=0), NO_RECORDING),
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
        assert "damaged or cut off" in reasons[0]


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
]


@pytest.mark.parametrize("line", NONSENSE, ids=range(len(NONSENSE)))
def test_a_line_that_is_no_batch_ends_the_recording(tmp_path, line):
    """Valid JSON of the wrong shape is reported like any damage; the batches before it are good."""
    path = write(tmp_path / "x", [frame("a", [1])])
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + json.dumps(line).encode() + b"\n"))
    batches, reasons = read(path, damaged=True)

    assert (1, 1) == (len(batches), len(reasons))


def test_a_line_without_end_is_not_read_into_memory(tmp_path, monkeypatch):
    """A compressed bomb is cut off at the longest line."""
    monkeypatch.setattr(recording_file, "_LONGEST_LINE", 2000)
    path = write(tmp_path / "x", [frame("a", [1])], [frame("a", [1] * 5000)])
    batches, reasons = read(path, damaged=True)

    assert 1 == len(batches)
    assert "a line has no end" in reasons[0]


def test_values_that_are_no_numbers_are_refused_and_nothing_is_written(tmp_path):
    """A frame of objects does not spoil the file."""
    writer = RecordingWriter(tmp_path / "x", HEADER)
    writer.write([frame("a", [1])])
    with pytest.raises(ValueError, match="object is no type of numbers"):
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
