# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies for row sets and frames of all kinds; load them with ``from strategies import …``.

`nasty_text` holds what has broken exporters before: quotes, newlines, backslashes, control and astral characters, and
halves of surrogate pairs, as an undecodable process name produces them.
"""

import numpy as np
from hypothesis import strategies as st

from ebpf_sidecar.pipeline import ExplicitBuckets, ExponentialBuckets, Frame, Kind, RowSet, Temporality
from ebpf_sidecar.pipeline.testing import NOON

nasty_text = st.text(
    st.one_of(st.sampled_from('"\\\n\r\t {}=,;#%\x00\x1b\u2028é€😀\ud800\udcff'), st.characters(codec="utf-8")),
    max_size=12,
)
attribute_names = st.sampled_from(
    ["k8s.pod.name", "container.id", "process.executable.name", "device", "error.type", "syscall", "le", "a.b", "a_b"]
)
metric_names = st.from_regex(r"[a-z]{1,6}(\.[a-z_]{1,8}){0,3}", fullmatch=True)
units = st.sampled_from(["", "1", "s", "By", "%", "{page}", "ms", "By/s", "requests"])
counts = st.integers(0, 2**64 - 1)
small_counts = st.integers(0, 2**40)
numbers = st.floats(width=64)
sums = st.floats(0, allow_infinity=False)


@st.composite
def row_sets(draw, max_rows=8, names=attribute_names, values=nasty_text):
    """Row sets with distinct ids; attributes may be absent, and rows may be alike."""
    columns = draw(st.lists(names, unique=True, max_size=4))
    records = draw(st.lists(st.fixed_dictionaries(dict.fromkeys(columns, values)), max_size=max_rows))
    return RowSet.of([{**dict.fromkeys(columns, ""), **record} for record in records], draw(st.integers(0, 2**32)))


@st.composite
def any_buckets(draw):
    """Explicit buckets, or exponential ones."""
    if draw(st.booleans()):
        return ExplicitBuckets(np.array(sorted(draw(st.sets(st.floats(1e-9, 1e12), min_size=1, max_size=5)))))
    return ExponentialBuckets(draw(st.integers(-2, 4)), draw(st.integers(-40, 40)), draw(st.integers(0, 4)))


@st.composite
def frames(draw, kinds=tuple(Kind), rows=None, name=metric_names, values=numbers):
    """A frame of any kind over any rows."""
    kind, rows = draw(st.sampled_from(kinds)), draw(row_sets() if rows is None else rows)
    parts = {"name": draw(name), "unit": draw(units), "description": draw(nasty_text), "time_unix_nano": NOON}
    size = len(rows)
    if kind is Kind.HISTOGRAM:
        buckets = draw(any_buckets())
        width = len(buckets.bounds) + 1
        counts_of = st.lists(small_counts, min_size=width, max_size=width)
        parts["buckets"] = buckets
        parts["sums"] = np.array(draw(st.lists(sums, min_size=size, max_size=size)), dtype=np.float64)
        observed = draw(st.lists(counts_of, min_size=size, max_size=size))
        array = np.array(observed, dtype=np.uint64).reshape(size, width)
    elif kind is Kind.COUNTER:
        array = np.array(draw(st.lists(counts, min_size=size, max_size=size)), dtype=np.uint64)
    else:
        array = np.array(draw(st.lists(values, min_size=size, max_size=size)), dtype=np.float64)
    start = 0 if kind is Kind.GAUGE else NOON - draw(st.integers(1, 10**12))
    return Frame(kind=kind, rows=rows, values=array, start_time_unix_nano=start, **parts)


@st.composite
def counters_with_resets(draw, max_ticks=6):
    """A counter at successive ticks: rows come and go, values grow, and now and then start again from zero."""
    names = draw(st.lists(st.text("abc", min_size=1, max_size=2), unique=True, min_size=1, max_size=5))
    totals, ticks = dict.fromkeys(names, 0), []
    for tick in range(draw(st.integers(1, max_ticks))):
        for name in names:
            totals[name] = 0 if draw(st.booleans()) and tick else totals[name] + draw(st.integers(0, 1000))
        there = draw(st.lists(st.sampled_from(names), unique=True))
        records = [{"process.executable.name": name} for name in there]
        rows = RowSet(np.array([names.index(name) for name in there], dtype=np.uint64), RowSet.of(records).columns)
        ticks.append(
            Frame(
                "work.done",
                Kind.COUNTER,
                rows,
                np.array([totals[name] for name in there], dtype=np.uint64),
                NOON + tick * 10**9,
                NOON - 10**9,
                temporality=Temporality.CUMULATIVE,
            )
        )
    return ticks


ODD = st.sampled_from([None, True, -1, 0, 1e300, 2**63, 2**64, 2**70, "", "x", "inf", [], [[]], {}, {"a": 1}])


@st.composite
def mutations(draw):
    """A way to one place in a document of mappings and lists, and what to put there; see `mutated`."""
    return draw(st.lists(st.integers(0, 30), min_size=1, max_size=7)), draw(ODD)


def mutated(value, way, odd):
    """The value with ``odd`` at the place that the numbers of ``way`` lead to."""
    if not way or not isinstance(value, (dict, list)) or not value:
        return odd
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key = keys[way[0] % len(keys)]
    changed = value.copy()
    changed[key] = mutated(value[key], way[1:], odd)
    return changed
