# SPDX-License-Identifier: Apache-2.0
"""The exporter keeps the latest of every series and writes it as others read it."""

import gzip

import numpy as np
from served_exporter import OPENMETRICS, SECOND, ServedExporter, people

from ebpf_sidecar.exporters.prometheus import FACTORY
from ebpf_sidecar.pipeline import Kind, RowSet, Temporality, Text
from ebpf_sidecar.pipeline.testing import NOON, check_contract, frame


def test_the_contract_is_kept():
    """Start, stop, empty frames, unknown keys."""
    check_contract(
        FACTORY, {"endpoint": "127.0.0.1:9", "path": "/m", "const_labels": {"a": "b"}, "metric_expiration": "1m"}
    )


def test_the_latest_value_is_served(served):
    """Not a history."""
    rows = people("a", "b")
    served.export(frame("work.done", [1, 2], rows, time_unix_nano=NOON))
    served.export(frame("work.done", [3, 4], rows, time_unix_nano=NOON + SECOND))

    assert ['work_done_total{who="a"} 3', 'work_done_total{who="b"} 4'] == served.samples()
    assert {} == served.drops


def test_families_are_sorted_by_name(served):
    """In whatever order frames arrive."""
    served.export(frame("b", [1]), frame("a", [2]))

    assert ["a_total 2", "b_total 1"] == served.samples()


def test_numbers_keep_their_precision(served):
    """Integers to 64 bits, floats to the last bit, and NaN and infinities by name."""
    served.export(
        frame("count", [2**64 - 1]),
        frame("gauge", [0.1, 1e-7, 1e300, np.inf, -np.inf, np.nan, 12.0], kind=Kind.GAUGE),
        frame("seconds", [1], kind=Kind.COUNTER).with_values(np.array([0.25])),
        frame("flag", [1], kind=Kind.GAUGE).with_values(np.array([True])),
    )

    values = [line.rsplit(" ", 1)[1] for line in served.samples()]
    assert ["18446744073709551615", "1", "0.1", "1e-07", "1e+300", "+Inf", "-Inf", "NaN", "12.0", "0.25"] == values


def test_histograms_are_accumulated_over_buckets(served):
    """Bounds are written the same in both formats, so that a series keeps its name."""
    served.export(frame("wait", [[1, 2, 3]], [{"op": "read"}], bounds=[0.001, 1], sums=[7.5], unit="s"))
    expected = [
        'wait_seconds_bucket{op="read",le="0.001"} 1',
        'wait_seconds_bucket{op="read",le="1.0"} 3',
        'wait_seconds_bucket{op="read",le="+Inf"} 6',
        'wait_seconds_sum{op="read"} 7.5',
        'wait_seconds_count{op="read"} 6',
    ]

    assert expected == served.samples()
    assert expected == [line for line in served.page(OPENMETRICS).splitlines() if not line.startswith("#")]


def test_an_infinite_last_bound_is_not_written_twice(served):
    """Two buckets up to infinity are one."""
    served.export(frame("wait", [[1, 2, 3]], bounds=[1, np.inf], sums=[7.5]))

    assert ['wait_bucket{le="1.0"} 1', 'wait_bucket{le="+Inf"} 6', "wait_sum 7.5", "wait_count 6"] == served.samples()


def test_deltas_are_added_up(served):
    """Prometheus expects totals since a start; a row that was absent continues."""
    delta = {"temporality": Temporality.DELTA}
    both, one = people("a", "b"), people("b", first_id=1)
    for second, (rows, values) in enumerate(((both, [1, 2]), (both, [1, 2]), (one, [10]), (both, [1, 2]))):
        served.export(frame("work", values, rows, time_unix_nano=NOON + second * SECOND, **delta))

    assert {'work_total{who="a"} 3', 'work_total{who="b"} 16'} == set(served.samples())


def test_deltas_of_histograms_are_added_up(served):
    """Buckets and sum."""
    for second in range(3):
        parts = {"temporality": Temporality.DELTA, "time_unix_nano": NOON + second * SECOND}
        served.export(frame("wait", [[1, 2]], bounds=[1], sums=[0.5], **parts))

    assert ['wait_bucket{le="1.0"} 3', 'wait_bucket{le="+Inf"} 9', "wait_sum 1.5", "wait_count 9"] == served.samples()


def test_response_headers_describe_the_page(served):
    """Type, encoding, and what it depends on."""
    answer = served.context.routes.get("/metrics", {**OPENMETRICS, "accept-encoding": "gzip"})

    assert {
        "Content-Type": "application/openmetrics-text; version=1.0.0; charset=utf-8",
        "Content-Encoding": "gzip",
        "Vary": "Accept, Accept-Encoding",
    } == answer.headers
    assert b"# EOF\n" == gzip.decompress(answer.body)
    assert "text/plain; version=0.0.4; charset=utf-8" == served.context.routes.get("/metrics").headers["Content-Type"]


def test_a_hundred_thousand_rows_are_served():
    """Each exactly once."""
    count = 100_000
    served = ServedExporter({"page_limit": {"series": count + 2}, "fold_beyond": None})
    codes = np.arange(count, dtype=np.int32)
    rows = RowSet(codes.astype(np.uint64), {"container.id": Text(codes, tuple(f"{n:x}" for n in range(count)))})
    served.export(frame("work", [0], [{}]), frame("work.rows", [1], [{}], kind=Kind.COUNTER))
    served.export(frame("many", np.arange(count), rows))
    lines = served.samples()

    assert count + 2 == len(lines)
    assert 'many_total{container_id="1869f"} 99999' in lines
    assert {} == served.drops
