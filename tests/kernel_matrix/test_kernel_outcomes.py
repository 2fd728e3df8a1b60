# SPDX-License-Identifier: Apache-2.0
"""From what the selftest prints to the table, and what counts as worse."""

import json
from dataclasses import replace

import pytest
from documents.kernels import matrix_parts, with_proofs
from hypothesis import given
from hypothesis import strategies as st
from kernels.comparison import better_of, differences
from kernels.outcome import COMMITTED, PROOFS, Checked, HookOutcome, Outcome, read_committed, to_text, write_committed
from kernels.report import outcome_of

ISSUE, LOOKUP = "raw_tracepoint block:block_rq_issue", "kprobe filemap_read"
GOOD = Outcome(
    "6.1.0-56-amd64",
    hooks={
        "block_io.issue": HookOutcome(ISSUE, live=True),
        "page_cache.page_lookup": HookOutcome(LOOKUP, None, "nobody reads"),
    },
    metrics={"ebpf.block.io.size": Checked("right", ("/proc/diskstats",))},
    answered=True,
    checks={"ok": 7, "skipped": 1},
)

hooks = st.builds(
    HookOutcome, st.sampled_from(["", ISSUE, LOOKUP]), st.sampled_from([None, True, False]), st.text(max_size=5)
)
checks = st.builds(
    Checked, st.sampled_from(["right", "wrong", "absent", "unchecked"]), st.just(("mincore(2)",)), st.text(max_size=5)
)
outcomes = st.builds(
    Outcome,
    st.just("6.1"),
    st.just(""),
    st.dictionaries(st.sampled_from(["a.b", "a.c"]), hooks),
    st.dictionaries(st.sampled_from(["m", "n"]), checks),
    st.just(True),
    st.dictionaries(st.sampled_from(["ok", "wrong"]), st.integers(0, 9)),
)


def result(metric, verdict, why="", oracle="mincore(2)"):
    """A line of the selftest's report."""
    return {"metric": metric, "verdict": verdict, "why": why, "oracle": oracle, "workload": "cold"}


def hook(name, *, attached=True, reason="", live=None, live_reason=""):
    """A hook of the selftest's report."""
    return {
        "probe": "page_cache",
        "hook": name,
        "attached": attached,
        "way": "tracepoint a:b" if attached else "",
        "reason": reason,
        "live": live,
        "live_reason": live_reason,
    }


def report(*metrics, hooks=(), error=""):
    """What the selftest prints."""
    return json.dumps({"kernel": "6.1.0", "error": error, "hooks": hooks, "metrics": metrics})


def with_hook(outcome, name, hook):
    """The same outcome but for one hook."""
    return replace(outcome, hooks={**outcome.hooks, name: hook})


def kinds(was, now):
    """What the differences between two outcomes of a kernel are called."""
    return [each.kind for each in differences({"6.1": was}, {"6.1": now})]


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [(("ok", "skipped"), "right"), (("ok", "wrong"), "wrong"), (("skipped",), "unchecked")],
)
def test_a_metric_is_right_when_something_was_compared_and_nothing_was_wrong(verdicts, expected):
    """One wrong value among many right ones makes it wrong."""
    found = outcome_of(report(*(result("m", verdict) for verdict in verdicts)), "6.1.0")

    assert expected == found.metrics["m"].verdict


def test_a_metric_whose_hook_is_refused_is_absent():
    """That is not the same as one that could not be compared."""
    refused = hook("page_lookup", attached=False, reason="no tracepoint")
    found = outcome_of(report(result("m", "skipped", "no tracepoint; more"), hooks=[refused]), "6.1.0")

    assert "absent" == found.metrics["m"].verdict
    assert HookOutcome("", None, "no tracepoint") == found.hooks["page_cache.page_lookup"]


def test_a_hook_that_is_not_known_to_fire_has_the_reason():
    """Attached is not the same as firing."""
    found = outcome_of(report(hooks=[hook("page_add", live=False, live_reason="its counter stayed")]), "6.1.0")

    assert HookOutcome("tracepoint a:b", live=False, reason="its counter stayed") == found.hooks["page_cache.page_add"]


def test_the_start_and_end_of_a_long_reason_are_kept():
    """A verifier's complaint says where at the start and what at the end."""
    text = f"block_rq_issue: {'log ' * 200}R2 unbounded memory access"
    reason = outcome_of(report(hooks=[hook("x", attached=False, reason=text)]), "").hooks["page_cache.x"].reason

    assert reason.startswith("block_rq_issue: log")
    assert reason.endswith("R2 unbounded memory access")
    assert len(reason) < 200


@pytest.mark.parametrize(
    ("printed", "reported", "problem"),
    [
        ("", "Traceback\nValueError: no", "the selftest failed: ValueError: no"),
        ("", "", "the selftest failed: it printed nothing"),
        (report(error="cannot load probes"), "", "cannot load probes"),
    ],
)
def test_a_selftest_without_results_is_a_problem_of_the_product(printed, reported, problem):
    """It answered, so a table that once had an answer has become worse."""
    found = outcome_of(printed, "6.1.0", reported)

    assert Outcome("6.1.0", problem, answered=True) == found
    assert ["worse"] == kinds(GOOD, found)


@pytest.mark.parametrize("problem", ["no suite has it any longer", "the guest did not finish after 300 s"])
def test_a_guest_that_was_unavailable_or_did_not_end_is_not_worse(problem):
    """It is a row that says so: not the product's fault."""
    assert [] == kinds(GOOD, Outcome("6.1.0", problem))


@pytest.mark.parametrize(
    ("now", "kind"),
    [
        (HookOutcome("", None, "refused"), "worse"),
        (HookOutcome(ISSUE, live=False), "worse"),
        (HookOutcome(ISSUE, live=None), "worse"),
        (HookOutcome(LOOKUP, live=True), "other"),
    ],
)
def test_a_hook_that_fired_and_does_so_no_more_is_worse(now, kind):
    """Another way in is a difference that the table must report, but nothing bad."""
    assert [kind] == kinds(GOOD, with_hook(GOOD, "block_io.issue", now))


@pytest.mark.parametrize("verdict", ["wrong", "absent", "unchecked"])
def test_a_metric_that_was_right_and_is_not_is_worse(verdict):
    """Whether it is wrong now or only not proven."""
    now = replace(GOOD, metrics={"ebpf.block.io.size": Checked(verdict, (), "why")})
    (found,) = differences({"6.1": GOOD}, {"6.1": now})

    assert f"6.1: metric ebpf.block.io.size: was right, is {verdict} (why)" == str(found)
    assert "worse" == found.kind


def test_what_is_gone_is_worse():
    """A hook or a metric may be given up on purpose, and then the table is updated on purpose."""
    gone = replace(GOOD, hooks={}, metrics={})

    assert ["worse"] * 3 == kinds(GOOD, gone)


def test_what_differs_only_in_its_reason_is_the_same():
    """Words of the kernel's log change from run to run."""
    assert [] == kinds(GOOD, with_hook(GOOD, "page_cache.page_lookup", HookOutcome(LOOKUP, None, "nobody came")))


def test_a_kernel_that_the_table_does_not_have_is_one_difference():
    """Not one for each of its hooks."""
    assert ["other"] == [each.kind for each in differences({}, {"6.1": GOOD})]


@given(outcomes)
def test_an_outcome_does_not_differ_from_itself(outcome):
    """Otherwise the table could never be up to date."""
    assert [] == kinds(outcome, outcome)


@given(outcomes, outcomes)
def test_what_is_better_one_way_is_worse_the_other_way(one, other):
    """The same hooks and metrics differ, whichever is the older."""
    mirrored = {"worse": "better", "better": "worse", "other": "other"}

    assert sorted(kinds(one, other)) == sorted(mirrored[kind] for kind in kinds(other, one))


@pytest.mark.parametrize(("release", "kind"), [("6.1.0-57-amd64", "worse"), ("6.2.0-1-amd64", "other")])
def test_a_kernel_that_the_table_does_not_know_is_news_and_no_regression(release, kind):
    """A later build of a known kernel is compared; a new kernel is no fault of the change that CI looks at."""
    found = differences({"newest": GOOD}, {"newest": replace(GOOD, release=release, hooks={})})

    assert {kind} == {each.kind for each in found} - {"better"}
    assert ("other" == kind) == (f"{release}, which is not in the table" in {each.now for each in found})


def test_other_numbers_of_checks_are_a_difference_and_nothing_bad():
    """The selftest learns new ones; which metric is wrong is reported by its name."""
    assert ["other"] == kinds(GOOD, replace(GOOD, checks={"ok": 9, "wrong": 1}))


@given(outcomes, outcomes)
def test_the_better_of_two_runs_is_never_worse_than_either(one, other):
    """What is wrong only once is an accident."""
    better = better_of(one, other)

    assert "worse" not in kinds(one, better) + kinds(other, better)


@pytest.mark.parametrize("second", [Outcome("6.1", "the guest died"), Outcome("6.1", "no", answered=True)])
def test_a_second_run_without_results_changes_nothing(second):
    """Neither a guest that died nor a selftest that failed proves the first run wrong."""
    assert GOOD == better_of(GOOD, second)


def test_a_second_run_that_ends_replaces_a_selftest_that_failed():
    """It has shown that the product works there."""
    assert GOOD == better_of(Outcome("6.1", "it printed nothing", answered=True), GOOD)


def test_the_second_run_has_as_many_wrong_checks_as_the_better_of_both():
    """Otherwise the table would report a wrong check, but no wrong metric."""
    seen = [replace(GOOD, checks={"ok": right, "wrong": 9 - right}) for right in (7, 9)]

    assert [9, 9] == [better_of(*pair).checks["ok"] for pair in (seen, seen[::-1])]


@given(outcomes)
def test_the_committed_file_loses_nothing(tmp_path_factory, outcome):
    """Written and read again it is the same."""
    path = tmp_path_factory.mktemp("kernels") / "kernels.json"
    write_committed({"6.1": outcome, "gone": Outcome(problem="not available")}, path)

    assert {"6.1": outcome, "gone": Outcome(problem="not available")} == read_committed(path)


def test_without_a_committed_file_nothing_is_known(tmp_path):
    """The first run makes it."""
    assert {} == read_committed(tmp_path / "kernels.json")


@pytest.mark.parametrize("path", [COMMITTED, PROOFS])
def test_the_committed_file_is_as_the_program_writes_it(path):
    """So that the next update shows only what changed; all in it is an answer, none a guest that was missing."""
    committed = read_committed(path)

    assert path.read_text(encoding="utf-8") == to_text(committed)
    assert all(outcome.answered for outcome in committed.values())


def test_totals_show_attached_firing_and_right():
    """Metrics that were not compared are not counted as tried."""
    metrics = {**GOOD.metrics, "n": Checked("unchecked"), "o": Checked("wrong")}
    tried = replace(GOOD, metrics=metrics, checks={"ok": 5, "wrong": 1})

    assert (
        "2 of 2 hooks attached, 1 seen firing, 1 of 2 metrics right, checks: 5 right, 1 wrong, 0 unchecked"
        == tried.totals()
    )


def test_what_only_a_guest_can_prove_is_right_in_the_table():
    """A selftest must not bring a machine to its knees; what it has checked itself stays, unless it is found wrong."""
    right = Checked("right", ("mincore(2)",))
    shown = replace(GOOD, metrics={"m": Checked("unchecked", (), "harm"), "n": right, "o": right})
    proven = {"m": Checked("right", ("/proc/vmstat",)), "n": Checked("right", ("known number",)), "o": Checked("wrong")}

    found = with_proofs({"6.1": shown, "running": shown}, {"6.1": Outcome("6.1", metrics=proven, answered=True)})

    assert {"m": proven["m"], "n": right, "o": proven["o"]} == found["6.1"].metrics
    assert shown == found["running"]


def test_the_table_has_a_column_for_each_kernel_and_a_row_for_each_way():
    """A kernel without a way in says so in the hook's first row; the reason is below."""
    old = with_hook(GOOD, "block_io.issue", HookOutcome("", None, "refused"))
    new = with_hook(GOOD, "block_io.issue", HookOutcome("kprobe other", live=False, reason="silence"))
    text = "\n\n".join(matrix_parts({"5.10": old, "6.1": GOOD, "7.3": new, "gone": Outcome(problem="not available")}))
    lines = [" ".join(line.split()) for line in text.splitlines()]

    assert "| hook | attached to | 5.10 | 6.1 | 7.3 |" in lines
    assert "| `block_io.issue` | raw tracepoint `block:block_rq_issue` | no | fires | |" in lines
    assert "| | kprobe `other` | | | silent |" in lines
    assert "* `block_io.issue` on 5.10: refused" in lines
    assert "* `block_io.issue` on 7.3: silence" in lines
    assert "* `page_cache.page_lookup` on 5.10, 6.1, 7.3: nobody reads" in lines
    assert "| `ebpf.block.io.size` | right | right | right | /proc/diskstats |" in lines
    assert "| 6.1 | `6.1.0-56-amd64` | 2 of 2 | 1 | 7 | 0 | 1 | 1 of 1 |" in lines
    assert "* `gone` on gone: not available" in lines
