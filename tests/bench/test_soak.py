# SPDX-License-Identifier: Apache-2.0
"""The soak finds the true slope, names what grows, and its workload leaves nothing."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_access import why_no_ebpf
from waiting import until

from ebpf_sidecar.pipeline.container_path import container_of

FLAT = {
    "anonymous (kB)": 4e4,
    "rss (kB)": 5e4,
    "private (kB)": 4e4,
    "descriptors": 59,
    "threads": 9,
    "processes": 1,
    "rows": 400,
}
TREND = Path(__file__).parents[2] / "bench" / "measuring" / "trend.py"


@pytest.fixture(scope="session")
def trends():
    """The module by its path: a law by hypothesis takes no fixture of a single test."""
    spec = importlib.util.spec_from_file_location("trend", TREND)
    module = sys.modules["trend"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["trend"]


@given(st.floats(-1e3, 1e3), st.floats(-1e6, 1e6), st.lists(st.integers(0, 10**4), min_size=2, unique=True))
def test_a_straight_line_has_its_own_slope(trends, slope, start, moments):
    """Whatever the sampling times: per hour, and as growth from the first to the last."""
    moments = sorted(moments)
    line = trends.trend(moments, [start + slope * reading_time for reading_time in moments])

    assert 3600 * slope == pytest.approx(line.an_hour, rel=1e-6, abs=1e-2)
    assert slope * (moments[-1] - moments[0]) == pytest.approx(line.growth, rel=1e-6, abs=1e-2)


def test_a_shape_runs_from_the_lowest_to_the_highest(trends):
    """As many bars as requested, and one height where nothing changes."""
    assert "▁▂▃▄▅▆▇█" == trends.sparkline(range(80), 8)
    assert "▁▁▁" == trends.sparkline([5, 5, 5])


def soaked(growing=None, an_hour=0.0, seconds=600):
    """Samples of each second in which one number rises, and memory swings as it does between two trims."""
    return [
        (float(t), {name: value + (t % 10) * (value > 1e4) * 300 + (name == growing) * an_hour * t / 3600
                    for name, value in FLAT.items()})
        for t in range(seconds)
    ]  # fmt: skip


def test_what_swings_is_flat(bench):
    """Memory that is given back every ten seconds is no leak."""
    text, grown = bench("soak").report(soaked())

    assert [] == grown
    assert "rss (kB)" in text


MEMORY = [("anonymous (kB)", 30_000), ("rss (kB)", 40_000), ("private (kB)", 40_000)]


@pytest.mark.parametrize(("name", "an_hour"), [*MEMORY, ("descriptors", 60), ("threads", 30), ("rows", 30_000)])
def test_what_grows_is_named(bench, name, an_hour):
    """A descriptor a minute, or 30 MB an hour, shows within ten minutes."""
    assert [name] == bench("soak").report(soaked(name, an_hour))[1]


def test_the_warm_up_is_left_out(bench):
    """Tables that fill in the first quarter are no growth."""
    early = [(t, {**each, "private (kB)": min(t, 140) * 1e3}) for t, each in soaked()]

    assert [] == bench("soak").report(early)[1]


def test_child_processes_of_the_service_are_measured_too(bench):
    """Children and grandchildren, as long as they live."""
    nested = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    parent = subprocess.Popen([sys.executable, "-c", nested], stdin=subprocess.PIPE)
    found = until(lambda: len(family := bench("soak").family(parent.pid)) == 2 and family, 10)
    parent.communicate(b"\n", timeout=10)

    assert parent.pid == found[0]


def test_every_other_cgroup_is_a_container_and_all_names_are_cut(bench):
    """What the product remembers of either kind comes and goes."""
    churn = bench("measuring.churn")

    assert [False, True] * 5 == [container_of("/" + churn.name_of(number)) is not None for number in range(10)]
    assert len(churn.PROGRAMS) == len({name[:15] for name in churn.PROGRAMS if len(name) > 15})


def test_what_takes_hours_takes_seconds_in_a_soak(bench):
    """A constant that is there no more would make it blind, and ends the service instead."""
    service = bench("measuring.service")
    changes = [service._change(*name.rsplit(".", 1), value) for name, value in bench("soak").CONSTANTS.items()]
    known = subprocess.run([sys.executable, "-c", "\n".join(changes)], check=False)
    unknown = subprocess.run([sys.executable, "-c", service._change("pipeline.frame", "NOTHING", 1)], check=False)

    assert (0, 1) == (known.returncode, unknown.returncode)


@pytest.mark.kernel
@pytest.mark.parallel
@pytest.mark.skipif(bool(why_no_ebpf()), reason=why_no_ebpf())
def test_cgroups_come_and_go_and_nothing_is_left_of_them(bench):
    """Each ran a program to its end."""
    with bench("measuring.churn").churning(50.0) as churn:
        until(lambda: churn.ended >= 3, 10)
        [parent] = Path("/sys/fs/cgroup").glob(f"*/ebpf-sidecar-soak-{os.getpid()}")

    assert 3 <= churn.ended
    assert not parent.exists()
