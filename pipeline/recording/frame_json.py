# SPDX-License-Identifier: Apache-2.0
"""Converts row sets and frames to JSON values and back, without loss; see `file` for the keys."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebpf_sidecar.pipeline.buckets import Buckets, ExplicitBuckets, ExponentialBuckets
from ebpf_sidecar.pipeline.frame import Frame, Kind, Scope, Temporality
from ebpf_sidecar.pipeline.rows import Column, RowSet, Text

Json = dict[str, Any]
_NUMBER_KINDS = "biuf"
_MAX_INDEX = 2**31


def row_set_to_json(rows: RowSet) -> Json:
    """Ids and columns of a row set. Raises ValueError for a column that is neither text nor numbers."""
    return {
        "ids": rows.ids.tolist(),
        "columns": {name: _column_to_json(column) for name, column in rows.columns.items()},
    }


def row_set_from_json(value: Json) -> RowSet:
    """The row set. Raises KeyError, TypeError, ValueError or `FrameError` if the value is not one."""
    columns = {sys.intern(name): _column_from_json(column) for name, column in value["columns"].items()}
    ids = np.array(value["ids"], dtype=np.uint64)
    if any(array.ndim != 1 for array in (ids, *(c for c in columns.values() if not isinstance(c, Text)))):
        raise ValueError("ids or numbers are not a list")
    return RowSet(ids, columns)


def frame_to_json(frame: Frame, rows: int, resource: Mapping[str, str]) -> Json:
    """A frame that refers to row set number ``rows``; default values are left out, and so is ``resource``.

    Raises ValueError for values that are not numbers.
    """
    start = frame.start_time_unix_nano
    parts: Json = {
        "name": frame.name,
        "kind": frame.kind.value,
        "rows": rows,
        "time": int(frame.time_unix_nano),
        "start": start.tolist() if isinstance(start, np.ndarray) else int(start),
        "unit": frame.unit,
        "description": frame.description,
        "values": _numbers_to_json(frame.values),
        "temporality": frame.temporality.value,
        "scope": [frame.scope.name, frame.scope.version],
    }
    if frame.buckets is not None and frame.sums is not None:
        parts |= {**_buckets_to_json(frame.buckets), "sums": _numbers_to_json(frame.sums)}
    if frame.resource != resource:
        parts["resource"] = dict(frame.resource)
    return parts


def frame_from_json(value: Json, rows: RowSet, resource: Mapping[str, str]) -> Frame:
    """The frame with ``rows``. Raises KeyError, TypeError, ValueError or `FrameError` if the value is not a frame."""
    start, histogram = value["start"], value["kind"] == Kind.HISTOGRAM
    values = _numbers_from_json(value["values"])
    buckets = _buckets_from_json(value) if histogram else None
    if buckets is not None and not len(rows):
        values = values.reshape(0, len(buckets.bounds) + 1)  # an empty list does not have the length of its rows
    return Frame(
        name=sys.intern(value["name"]),
        kind=Kind(value["kind"]),
        rows=rows,
        values=values,
        time_unix_nano=nanoseconds(value["time"]),
        start_time_unix_nano=np.array(start, dtype=np.uint64) if isinstance(start, list) else nanoseconds(start, 2**64),
        unit=sys.intern(value["unit"]),
        description=sys.intern(value["description"]),
        temporality=Temporality(value["temporality"]),
        buckets=buckets,
        sums=_numbers_from_json(value["sums"]) if histogram else None,
        resource=texts(value["resource"]) if "resource" in value else resource,
        scope=Scope(*map(sys.intern, value["scope"])),
    )


def _buckets_to_json(buckets: Buckets) -> Json:
    advised = {} if buckets.advised is None else {"advised_bounds": _numbers_to_json(buckets.advised)}
    if isinstance(buckets, ExponentialBuckets):
        return {"exponential": [buckets.scale, buckets.offset, buckets.size], **advised}
    return {"bounds": _numbers_to_json(buckets.bounds), **advised}


def _buckets_from_json(value: Json) -> Buckets:
    advised = _numbers_from_json(value["advised_bounds"]) if "advised_bounds" in value else None
    if "exponential" not in value:
        return ExplicitBuckets(_numbers_from_json(value["bounds"]), advised)
    scale, offset, size = value["exponential"]
    if not all(type(number) is int and abs(number) < _MAX_INDEX for number in (scale, offset, size)):
        raise ValueError("exponential buckets are not three whole numbers")
    return ExponentialBuckets(scale, offset, size, advised)


def nanoseconds(value: Any, end: int = 2**63) -> int:
    """A time as ns since the epoch, below ``end``. Raises ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < end:
        raise ValueError("a time is not a number of nanoseconds since 1970")
    return value


def texts(value: Any) -> dict[str, str]:
    """A mapping of text to text, as a resource is. Raises TypeError or AttributeError for anything else."""
    return {sys.intern(name): sys.intern(text) for name, text in value.items()}


def _column_to_json(column: Column) -> Json:
    if isinstance(column, Text):
        column = column.trimmed()  # recordings are shared: no unused words
        return {"words": list(column.words), "codes": column.codes.tolist()}
    if not isinstance(column, np.ma.MaskedArray):
        return _numbers_to_json(column)
    return {**_numbers_to_json(column.filled(0)), "absent": np.flatnonzero(np.ma.getmaskarray(column)).tolist()}


def _column_from_json(value: Json) -> Column:
    if "words" not in value:
        numbers = _numbers_from_json(value)
        return _with_absent(numbers, value["absent"]) if "absent" in value else numbers
    words, codes = tuple(map(sys.intern, value["words"])), np.array(value["codes"], dtype=np.int32)
    if codes.ndim != 1:
        raise ValueError("codes are not a list of numbers")
    if len(codes) and not 0 <= codes.min() <= codes.max() < len(words):
        raise ValueError("a code has no word")
    return Text(codes, words)


def _with_absent(numbers: NDArray[Any], absent: Json) -> NDArray[Any]:
    """Raises ValueError if ``absent`` has positions that the numbers do not have."""
    positions = np.array(absent, dtype=np.int64)
    if positions.ndim != 1 or ((positions < 0) | (positions >= len(numbers))).any():
        raise ValueError("an absent number has no position")
    mask = np.zeros(len(numbers), np.bool_)
    mask[positions] = True
    return np.ma.MaskedArray(numbers, mask)


def _numbers_to_json(array: NDArray[Any]) -> Json:
    if array.dtype.kind not in _NUMBER_KINDS:
        raise ValueError(f"{array.dtype} is not a number type")
    numbers: Any = array.tolist()
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        numbers = array.astype(str).tolist()  # JSON has no infinities and no NaN
    return {"type": array.dtype.name, "numbers": numbers}


def _numbers_from_json(value: Json) -> NDArray[Any]:
    dtype = np.dtype(str(value["type"]))
    if dtype.kind not in _NUMBER_KINDS:
        raise ValueError(f'"{dtype}" is not a number type')
    return np.array(value["numbers"], dtype=dtype)
