# SPDX-License-Identifier: Apache-2.0
"""Each benchmark gives plausible numbers, on sizes that take no time."""

import os
import shutil
from pathlib import Path

import pytest
from kernel_access import why_no_ebpf


def kernel(test):
    """Mark a test that needs the kernel."""
    return pytest.mark.kernel(pytest.mark.skipif(bool(why_no_ebpf()), reason=why_no_ebpf())(test))


def test_a_table_is_aligned(bench):
    """Numbers to the right, words to the left, no blanks at line ends."""
    text = bench("measuring.printing").table(["what", "MiB"], [["a", 1.0], ["longer", 12.25]])

    assert "what      MiB\na        1.00\nlonger  12.25" == text


def test_samples_are_found_on_a_page_by_their_whole_name(bench):
    """A name that is a prefix of another one does not take that one's samples."""
    page = '# TYPE a gauge\na{m="x y"} 1\na{m="z"} 2\na_more 5\nb 7\n'

    assert 3 == bench("measuring.service").total(page, "a")
    assert 7 == bench("measuring.service").total(page, "b")


def test_memory_by_step_only_grows_by_what_is_imported(bench):
    """A step that imports NumPy takes megabytes, one that does nothing takes none."""
    found = bench("resources").breakdown({"bare": "", "nothing": "", "numpy": "import numpy"})

    assert ["bare", "nothing", "numpy"] == list(found)
    assert 1 > found["nothing"]["rss"] - found["bare"]["rss"]
    assert 5 < found["numpy"]["rss"] - found["nothing"]["rss"]
    assert all(each["anon"] + each["file"] == pytest.approx(each["rss"], abs=0.5) for each in found.values())


def test_requests_have_the_points_that_were_asked_for(bench):
    """Ours and the official ones hold the same, every step takes time, and everything arrives."""
    otlp = bench("otlp")
    over = otlp.rows(990)
    with otlp.server() as port:
        points, *numbers = otlp.measured(1_000, port)

    assert "990" == points
    assert all(number > 0 for number in numbers)
    assert 990 == sum(map(len, otlp.batch(over, 1))) == otlp.points_of(otlp.as_sdk(otlp.batch(over, 1)))


def test_what_a_node_sends_grows_with_its_programs(bench):
    """And ids that differ compress less."""
    gateway = bench("gateway")
    (few, plain, packed), (more, larger, packed_more) = gateway.node(2), gateway.node(12)

    assert 10 * 51 == more - few
    assert 200 < (larger - plain) / (more - few) < 400
    assert 0 < packed < packed_more < larger / 5


@pytest.mark.parametrize("shape", [0, 1], ids=["page_cache", "syscalls"])
def test_a_tick_has_as_many_series_as_requested(bench, shape):
    """Every step takes time, and the frames hold as many series as the table says."""
    tick = bench("tick")
    found, frames = tick.measure(tick.SHAPES[shape], 200)
    objects, page = tick.control(frames, runs=1)

    assert 200 == pytest.approx(tick.series_of(frames), rel=0.1)
    assert all(found[step] > 0 for step in ("first", "churn", "tick", *tick.STEPS))
    assert sum(found[step] for step in tick.STEPS) == pytest.approx(found["tick"], rel=1)
    assert objects > 0
    assert page > 0


def test_a_page_grows_with_its_processes_and_loses_no_count(bench):
    """Short-lived ones included; with all buckets it is more than twice as long."""
    page = bench("page")
    runs = {name: page.Run(settings).go(100, settled=20, ticks=2) for name, settings in page.SHAPES.items()}
    few = page.Run({"page_limit": {"series": 100}}).go(0, settled=20, ticks=2)

    assert [0, 0] == [runs[name].lost for name in ("before", "default")]
    assert runs["before"].series[-1] > 2 * runs["default"].series[-1]
    assert len(runs["before"].page) > 2 * len(runs["default"].page)
    assert few.lost > 0
    assert all(run.packed * 10 < len(run.page) for run in runs.values())


def test_folding_is_measured_beside_a_page(bench):
    """Of frames in which processes come and go."""
    fold, page, unfolded, ratio, kept = bench("folding").measured(50, 200, 5)

    assert 0 < min(fold, page, unfolded)
    assert ratio == pytest.approx((fold + page) / unfolded)
    assert 1 > kept > 50 * 8 * 10 / 1e6


def test_a_queue_on_disk_is_measured_beside_a_plain_file(bench, tmp_path):
    """Every turn has its times, and what waits is found again."""
    queue = bench("disk_queue")
    times = queue.measured(tmp_path, 4_000, 3)

    assert [3, 3, 3, 3] == [*map(len, (times.added, times.removed, times.plain, times.unsynced))]
    assert ["4,000", True] == [times.row(4_000)[0], times.row(4_000)[5] > 0]
    assert 0 < queue.start_up(tmp_path, 1 << 20) < 10


@kernel
@pytest.mark.parallel
def test_a_real_map_is_read_completely(bench):
    """The benchmark's own map holds what was put into it, and a reading takes time."""
    tick = bench("tick")

    assert 0 < tick.kernel_read(tick.SHAPES[0], 100)


@kernel
@pytest.mark.parallel
def test_an_idle_service_takes_memory_and_little_time(bench):
    """Numbers of a real service: within wide limits, not the targets."""
    resources = bench("resources")
    found = resources.idle("10s", 0.5, rest=0.1)

    broker = found.memory.pop("beside it: the privilege broker")
    assert all(20 < memory["rss"] < 200 and memory["lines"] > 50 for memory in found.memory.values())
    assert 3 < broker["rss"] < 30
    assert 0 <= sum(found.percent.values()) < 100
    assert "cache_stats_map" in resources.map_table(found.page)


@pytest.mark.full_length
@kernel
@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
def test_a_read_costs_one_run_of_each_program(bench):
    """Entry, lookup and return of a cached read run once an operation and take nanoseconds."""
    cost = bench("probe_cost")
    statistics = Path("/proc/sys/kernel/bpf_stats_enabled")
    before = statistics.read_text()
    with cost.machine() as place:
        found = cost.measure(place, [cost.WORKLOADS[0]], 0.1)[cost.WORKLOADS[0].name]

    assert before == statistics.read_text()
    assert {"call_enters", "lookup_raw", "call_returns"} <= {each.program for each in found}
    assert all(0.9 < each.runs < 2 for each in found if each.program in ("call_enters", "lookup_raw", "call_returns"))
    assert all(5 < each.empty < each.ns < 100_000 for each in found)
    assert 0 < cost.mean_net(found) < cost.per_operation(found)


@pytest.mark.full_length
@kernel
@pytest.mark.skipif(not shutil.which("fio") or not shutil.which("cc"), reason="no fio or no C compiler")
def test_a_request_costs_runs_of_each_variants_programs(bench):
    """Issue and completion for block_io, arrival and request for block_waits; the last row is its own measure."""
    requests = bench("requests")
    with requests.machine() as place, requests.stats("1"):
        found = requests.one_round(place, requests.variants(None), 200)

    assert {"block_io, submitter", "block_io", "block_waits"} == set(found)
    assert all(1.5 < cost.runs and 50 < cost.ns < 1_000_000 for cost, _ in found.values())  # others use disks, too
    assert "1.00" == next(requests.lines_of("block_waits", [found]))[4]


def test_a_programs_mean_counts_one_operation_of_each_workload_alike(bench):
    """Every workload has the same weight, and programs above the target are named."""
    cost = bench("probe_cost")
    measured = {
        "often": [cost.Cost("returns", 90.0, 30.0, 3.0), cost.Cost("enters", 50.0, 30.0, 1.0)],
        "seldom": [cost.Cost("returns", 190.0, 30.0, 1.0)],
        "cannot be run": [],
    }
    means = cost.means(measured)

    assert {"returns": cost.Mean(115.0, 85.0), "enters": cost.Mean(50.0, 20.0)} == means
    assert "often: 50 ns a run in the mean, 200 ns an operation" in cost.target_lines(measured, means)
    assert cost.target_lines(measured, means).endswith("1 of 2 programs above 60 ns: returns (85)")
    assert ["returns    115        30   85       above", "enters      50        30   20"] == cost.program_table(
        means
    ).splitlines()[1:]


@pytest.mark.full_length
@kernel
@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
def test_a_cgroup_that_is_too_small_makes_the_memory_probe_work(bench):
    """Stalls start and end as often, pages are reclaimed, and the cgroup is gone afterwards."""
    cost = bench("probe_cost")
    [workload] = [each for each in cost.WORKLOADS if each.limit]
    if workload.why_not():
        pytest.skip(workload.why_not())
    with cost.machine() as place:
        found = {each.program: each.runs for each in cost.measure(place, [workload], 1.0)[workload.name]}

    assert 0.005 < found["memcg_reclaim_begins"] == pytest.approx(found["memcg_reclaim_ends"], rel=0.1)
    assert 0.005 < found["inactive_pages_shrink"]
    assert not list(Path("/sys/fs/cgroup").glob(f"**/ebpf-sidecar-bench-{os.getpid()}"))


@pytest.mark.full_length
@kernel
@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
@pytest.mark.parallel
def test_a_slowdown_is_measured_in_pairs(bench):
    """With and without are both measured."""
    cost = bench("probe_cost")
    with cost.machine() as place:
        found = cost.slowdown(place, cost.WORKLOADS[2], ("syscalls",), scale=0.05, pairs=1)

    assert 0 < found.without
    assert 0 < found.under
    assert found.under / found.without == pytest.approx(found.ratio)


@pytest.mark.full_length
@kernel
def test_excluded_processes_pay_less_than_measured_ones(bench):
    """At entry and return, as the kernel counts it; the same loop for both."""
    targets = bench("targets")
    choices = targets.choices()
    with Path(__file__).open("rb") as file:
        measured, left_out = (
            targets.measure(choices[name], lambda: targets.reads(file.fileno(), 2000))
            for name in ("measured, no targets", "left out by name")
        )

    assert 0 < left_out[2] < measured[2]


def test_a_round_is_compared_with_its_own_baseline(bench):
    """Ratio and difference are medians over the rounds, not of medians; bars are as long as the numbers say."""
    end = bench("end_to_end")
    times = {"nothing": [100.0, 200.0, 400.0], "the service": [200.0, 300.0, 800.0]}
    nothing, service = end.rows_of(end.WORKLOADS[0], times)

    assert ["nothing", "200"] == nothing[1:3]
    assert ["the service", "300", 2.0, "+100", 1.5, 2.0] == service[1:7]
    assert (21, 32) == (nothing[7].count("█"), service[7].count("█"))


@pytest.mark.full_length
@kernel
@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
@pytest.mark.parallel
def test_the_service_and_its_controls_are_measured_side_by_side(bench):
    """One round with nothing, with the service and with empty programs: plausible times, in a table."""
    end = bench("end_to_end")
    chosen = {name: each for name, each in end.variants().items() if name != "bpftrace"}
    with end.machine() as place:
        times = end.Bench(place, scale=0.05, patience=0).rounds(1, [end.WORKLOADS[0], end.WORKLOADS[3]], chosen)

    assert all(list(chosen) == list(each) for each in times.values())
    assert all(20 < ns[0] < 1_000_000 for each in times.values() for ns in each.values())
    assert "ns added by the service" in end.result(times)


@kernel
@pytest.mark.parallel
def test_tracing_programs_are_counted(bench):
    """Loading empty programs adds as many tracing programs as are reported as attached."""
    attached, empty = bench("measuring.attached"), bench("measuring.empty_programs")
    with empty.empty_programs(("syscalls",)) as loaded:
        kinds = {attached._type(each) for each in attached.tracing_programs()}
        known = len(attached.tracing_programs())

    assert known >= len(loaded.programs) > 3
    assert kinds <= {2, 5, 7, 17, 24, 26}


@pytest.mark.parametrize("kind", ["sum", "histogram"])
def test_receiving_is_measured_beside_parsing(bench, kind):
    """Rows that are new cost more than known ones."""
    parse, known, new = bench("receive").measured(2_000, kind, rounds=3)

    assert 0 < min(parse, known)
    assert known < new
