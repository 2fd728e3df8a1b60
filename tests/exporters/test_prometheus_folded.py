# SPDX-License-Identifier: Apache-2.0
"""A page of bounded size: `fold_beyond`."""

import logging

import numpy as np
import pytest
from served_exporter import SECOND, ServedExporter

from ebpf_sidecar.exporters.exposition.process_limit import RESERVED_SERIES
from ebpf_sidecar.exporters.prometheus import FACTORY
from ebpf_sidecar.pipeline import Kind, RowSet, Text
from ebpf_sidecar.pipeline.testing import NOON, frame

PAIRS, CGROUPS, SHORT, TICKS = 600, 40, 5000, 10
CALLS = ("read", "write", "openat", "close", "pread64", "fsync")
BOUNDS = 1e-9 * 2.0 ** np.arange(10, 20)


class Builds:
    """A machine on which 600 pairs of cgroup and process work, while 5,000 short-lived ones come and go."""

    def __init__(self):
        self.random = np.random.default_rng(1)
        self.counts = np.zeros(((PAIRS + SHORT) * len(CALLS), len(BOUNDS) + 1), np.uint64)
        comes = np.append(np.zeros(PAIRS, np.int64), np.arange(SHORT) * TICKS // SHORT)
        self.starts = (NOON + np.repeat(comes - 1, len(CALLS)) * 10 * SECOND).astype(np.uint64)

    def tick(self, number, idle=False):
        """What is reported: processes are for longer than they live. A row counts since the tick before its first."""
        processes = np.arange(PAIRS + min(number + 1, TICKS) * SHORT // TICKS)
        rows = (processes[:, None] * len(CALLS) + np.arange(len(CALLS))).reshape(-1)
        busy = np.append(rows[: PAIRS * len(CALLS)], rows[-SHORT // TICKS * len(CALLS) :])
        if not idle:
            self.counts[busy] += self.random.integers(0, 5, (len(busy), 1)).astype(np.uint64)
        time, owners = {"time_unix_nano": NOON + number * 10 * SECOND}, self.owners(processes)
        time["start_time_unix_nano"] = self.starts[rows]
        calls = owners.take(np.repeat(processes, len(CALLS)))
        syscalls = RowSet(rows, {**calls.columns, "syscall": Text.of(CALLS * len(processes))})
        counts = self.counts[rows]
        durations = frame("time", counts, syscalls, unit="s", bounds=BOUNDS, sums=counts.sum(axis=1), **time)
        moved = frame("io", counts[:, 0], syscalls, unit="By", **time)
        time["start_time_unix_nano"] = 0
        rates = frame("hit_rate", [50] * len(processes), owners, kind=Kind.GAUGE, unit="%", **time)
        return [durations, moved, rates]

    def owners(self, processes):
        """Short-lived processes are in one cgroup, that of the build."""
        numbers = processes.tolist()
        cgroups = (f"/system.slice/service-{n % CGROUPS if n < PAIRS else 0}.service" for n in numbers)
        names = {"process.executable.name": Text.of(f"program-{n}" for n in numbers)}
        return RowSet(processes, {"process.linux.cgroup": Text.of(cgroups), **names})


def moved(page):
    """The series of bytes moved, by what they are of."""
    samples = (line.rsplit(" ", 1) for line in page.splitlines() if line.startswith("io_"))
    return {name: int(value) for name, value in samples}


def test_a_busy_build_machine_has_ten_thousand_series_and_two_megabytes():
    """Together they show in each interval exactly what was counted in it."""
    served = ServedExporter({"start_at_zero": False})
    builds, before, counted = Builds(), {}, 0
    for number in range(TICKS):
        served.export(*builds.tick(number))
        served.clock.advance(10)
        page, total = served.page(), int(builds.counts[:, 0].sum())
        now, lines = moved(page), [line for line in page.splitlines() if not line.startswith("#")]

        assert 2_000_000 > len(page)
        assert 10_000 - RESERVED_SERIES >= len(lines) > 3000
        assert before.keys() <= now.keys()
        assert total - counted == sum(value - before.get(name, 0) for name, value in now.items())
        before, counted = now, total
    assert {} == served.drops
    assert "other" in page


def test_prometheus_finds_every_count_by_increase(served):
    """It takes the first value of a series for its past: so what is new, or shared for the first time, is 0 first. All
    that waited for that has come two ticks later."""
    builds, before, increase, past = Builds(), {}, 0, None
    for number in range(TICKS + 3):
        served.export(*builds.tick(number, idle=number >= TICKS))
        served.clock.advance(10)
        now = moved(served.page())
        increase += sum(value - before.get(name, value) for name, value in now.items())
        past, before = (sum(now.values()) if past is None else past), now

    assert int(builds.counts[:, 0].sum()) - past == increase


def test_what_was_folded_is_published_and_logged_once(caplog):
    """How many process names, and how to see more; and what has lost even its cgroup."""
    served = ServedExporter({"fold_beyond": 1000})
    gauges = served.context.telemetry.gauges
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            served.export(*Builds().tick(number))

    messages = [record.getMessage() for record in caplog.records]
    assert 2 == len(messages)
    assert "share a row called" in messages[0]
    assert "otel_metric_overflow" in messages[1]
    assert all(message.startswith("fold_beyond: ") for message in messages)
    assert PAIRS < gauges["ebpf_sidecar.exporter.folded_processes"]() < PAIRS + SHORT
    assert 0 < gauges["ebpf_sidecar.exporter.overflowed_rows"]()
    assert 700 >= len(served.samples()) > 400


def test_any_number_of_series_on_request():
    """Nothing is folded, and nothing published about it."""
    served = ServedExporter({"fold_beyond": None, "page_limit": {"series": 100_000, "size": "64MiB"}})
    served.export(*Builds().tick(0))

    assert (PAIRS + SHORT // TICKS) * (len(CALLS) * (len(BOUNDS) + 4) + 1) == len(served.samples())
    assert set() == {name for name in served.context.telemetry.gauges if "folded" in name}


def test_fewer_than_a_thousand_series_are_refused():
    """The overflow rows and the service's own metrics alone take some of them."""
    with pytest.raises(ValueError, match="1000"):
        FACTORY.settings(fold_beyond=999)


def test_series_that_start_at_0_and_shared_rows_add_up():
    """A scraper of each reading sees everything counted as increases; new series follow one interval later."""
    random, served = np.random.default_rng(2), ServedExporter({"fold_beyond": 1000, "metric_expiration": "60s"})
    totals, starts, changed, last, increases = {}, {}, {}, {}, 0
    for reading in range(28):
        time = NOON + reading * 10 * SECOND
        for process in random.integers(0, 300 + 40 * reading, 400).tolist() if reading < 25 else ():
            starts.setdefault(process, time - (10 * SECOND if reading else 0))
            totals[process], changed[process] = totals.get(process, 0) + int(random.integers(1, 9)), reading
        shown = [process for process in totals if changed[process] > reading - 10]
        columns = {
            "process.linux.cgroup": Text.of(f"/{process % 7}" for process in shown),
            "process.executable.name": Text.of(f"program-{process}" for process in shown),
        }
        rows, begun = RowSet(np.array(shown, np.uint64), columns), np.array([starts[p] for p in shown], np.uint64)
        served.export(frame("work", [totals[p] for p in shown], rows, time_unix_nano=time, start_time_unix_nano=begun))
        for name, value in (line.rsplit(" ", 1) for line in served.samples() if line.startswith("work")):
            # what returns starts again at 0
            increases += int(value) - last.get(name, int(value)) if int(value) >= last.get(name, 0) else int(value)
            last[name] = int(value)
        served.clock.advance(10)

    assert len(totals) > 1000
    assert any("other" in name for name in last)
    assert sum(totals.values()) == increases
