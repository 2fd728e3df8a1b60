# SPDX-License-Identifier: Apache-2.0

import gzip
import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from recordings import HEADER, OWNERS, read, write
from strategies import frames, nasty_text, row_sets

from ebpf_sidecar.pipeline import ExplicitBuckets, ExponentialBuckets, RowSet, Temporality, Text
from ebpf_sidecar.pipeline.frame import Scope
from ebpf_sidecar.pipeline.recording.file import Recording
from ebpf_sidecar.pipeline.testing import NOON, frame


def plain(value):
    """A frame or a part of it in plain values that can be compared, types of numbers included."""
    if isinstance(value, np.ndarray):
        return value.dtype.name, value.shape, repr(value.tolist())
    if isinstance(value, Text):
        return value.strings()
    if isinstance(value, RowSet):
        return value.ids.tolist(), {name: plain(column) for name, column in value.columns.items()}
    if isinstance(value, (ExplicitBuckets, ExponentialBuckets)):
        return type(value).__name__, described(value)
    return value


def described(frame):
    """All parts of a frame, or of its buckets."""
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
        buckets=drawn.buckets and replace(drawn.buckets, advised=draw(st.sampled_from([None, drawn.bounds[:1]]))),
    )


def test_batches_are_as_far_apart_as_on_the_monotonic_clock(tmp_path):
    """The wall clock's times where a recording has no others."""
    moments = ((0, None), (90, None), (100, 5), (40, 8))
    written = [[frame("c", [1], time_unix_nano=NOON + time * 10**9, monotonic_nano=moment and moment * 10**9)]
               for time, moment in moments]  # fmt: skip
    batches = list(Recording(write(tmp_path / "x", *written)).batches(print))

    assert [90.0, 10.0, 3.0] == [later.seconds_since(earlier) for earlier, later in pairwise(batches)]


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
    """Numbers of any width, booleans and text are restored unchanged."""
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
