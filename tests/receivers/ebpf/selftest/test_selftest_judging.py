# SPDX-License-Identifier: Apache-2.0
"""Verdicts: what is right, what is wrong, and what cannot be known here."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.receivers.ebpf.kernel.diskstats import Disks
from ebpf_sidecar.receivers.ebpf.selftest.case import Case, CaseFile, Unchecked, Workload
from ebpf_sidecar.receivers.ebpf.selftest.judging import Preconditions, Run, judge, skipped, unchecked
from ebpf_sidecar.receivers.ebpf.selftest.oracles import Observation, Readings

CASE = Case(metric="ebpf.cache.misses", workload="cold", oracle="known", fact="pages")
WORKLOAD = Workload(does="reads", script="files.py", action="sequential", step=1, disk=True)
FILE = CaseFile(workloads={"cold": WORKLOAD}, cases=(CASE,))


def run(measured, *, cachestat=None, low=0, high=0, **facts):
    """A workload that reported ``facts``, and what the probes made of it."""
    empty = Readings({"read_bytes": 0}, 0, 0)
    disks = tuple(Disks({"reads": n, "writes": n}, {"reads": n, "writes": n}) for n in (low, high))
    return Run(Observation(facts, empty, Readings({"read_bytes": 40960}, 7, cachestat), disks), lambda case: measured)


def case(**changes):
    """The case, changed."""
    return CASE.model_copy(update=changes)


@pytest.mark.parametrize(
    ("measured", "verdict"), [(1000, "ok"), (1005, "ok"), (995, "ok"), (1006, "wrong"), (994, "wrong"), (0, "wrong")]
)
def test_half_a_percent_is_allowed_unless_configured_otherwise(measured, verdict):
    """Of what is expected, on either side."""
    result = judge(CASE, run(measured, pages=1000))

    assert (verdict, 1000, measured, 5) == (result.verdict, result.expected, result.measured, result.tolerance)
    assert bool(result.why) == (verdict == "wrong")


def test_small_numbers_may_be_four_off():
    """One look of another process's at the file."""
    assert ["ok", "wrong"] == [judge(CASE, run(n, pages=0)).verdict for n in (4, 5)]


@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_exact_means_equal(expected, measured):
    """Whatever the size."""
    assert (expected == measured) == (judge(case(exact=True), run(measured, pages=expected)).verdict == "ok")


def test_a_fact_that_a_workload_does_not_report_is_named():
    """Scripts may be a third party's; the other cases continue."""
    result = judge(case(fact="calls"), run(23, pages=23))

    assert ("skipped", 'the workload does not report the number "calls"') == (result.verdict, result.why)


@given(st.integers(1, 2**20), st.integers(0, 2**20), st.integers(0, 3 * 2**20))
def test_any_value_between_two_readings_of_the_disk_is_right(low, more, measured):
    """And nothing outside."""
    wide = case(oracle="diskstats_reads", exact=True)
    result = judge(wide, run(measured, low=low, high=low + more))

    assert (low <= measured <= low + more) == (result.verdict == "ok")


@pytest.mark.parametrize(("measured", "verdict"), [(0.0, "wrong"), (0.4, "ok"), (0.5, "ok"), (0.6, "wrong")])
def test_an_upper_limit_is_not_met_by_nothing(measured, verdict):
    """A duration of 0 means that nothing was counted."""
    limit = case(oracle="own_clock", fact="", at_most=True)

    assert verdict == judge(limit, run(measured, seconds=0.5)).verdict


def test_seconds_are_compared_by_share_alone():
    """Four seconds of tolerance would be none."""
    assert "wrong" == judge(case(oracle="own_clock", fact="", share=0.1), run(0.3, seconds=0.25)).verdict


def test_an_oracle_that_this_kernel_does_not_have_skips_its_cases():
    """With the version it came with."""
    result = judge(case(oracle="cachestat_added"), run(7))

    assert ("skipped", "this kernel has no cachestat(2) (it came with 6.5)") == (result.verdict, result.why)
    assert "ok" == judge(case(oracle="cachestat_added"), run(7, cachestat=7)).verdict


def test_a_kernel_without_accounting_skips_its_cases():
    """/proc/<pid>/io is an option of the kernel."""
    result = judge(case(oracle="rchar"), run(7))

    assert ("skipped", "/proc/<pid>/io has no rchar here") == (result.verdict, result.why)


def test_pages_fetched_are_bytes_fetched_by_page():
    """40960 bytes are ten pages here."""
    assert 10 == judge(case(oracle="read_bytes"), run(10)).expected


@pytest.mark.parametrize(
    ("bench", "why"),
    [
        (Preconditions({}), ""),
        (Preconditions({"ebpf.cache.misses": "no tracepoint"}, problem="no disk"), "no tracepoint"),
        (Preconditions({}, problem="no disk"), "no disk"),
        (Preconditions({}, {"scheduler": "none"}), "none"),
        (Preconditions({}, {"own_requests": "overlay", "scheduler": "overlay"}), "overlay"),
    ],
)
def test_what_cannot_be_checked_is_known_beforehand(bench, why):
    """An absent metric, a folder that is on no disk, a disk without what the case needs."""
    assert why == bench.obstacle(case(needs=("own_requests", "scheduler")), FILE)


def test_needs_do_not_matter_to_cases_without_them():
    """Nor does the disk to workloads without files."""
    dry = CaseFile(workloads={"cold": WORKLOAD.model_copy(update={"disk": False})})

    assert "" == Preconditions({}, {"scheduler": "none"}, "no disk").obstacle(CASE, dry)


def test_metrics_without_a_case_are_lines_of_their_own():
    """With the reason from the file; those of a third party's probe as well."""
    file = FILE.model_copy(update={"unchecked": (Unchecked(metric="errors", reason="no disk may fail"),)})
    lines = unchecked(file, ["ebpf.cache.misses", "errors", "other"])

    assert [("errors", "no disk may fail"), ("other", "there is no case for it")] == [(r.metric, r.why) for r in lines]
    assert {"skipped"} == {each.verdict for each in [*lines, skipped(CASE, "why")]}
