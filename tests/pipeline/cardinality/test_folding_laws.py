# SPDX-License-Identifier: Apache-2.0
"""The laws of folding, whatever processes do: `folding_machine.Page` checks each interval."""

from folding_machine import EXPIRATION, Machine, Page, names
from hypothesis import given, settings
from hypothesis import strategies as st

CGROUPS, NAMES = ("/a", "/b", "/c"), tuple("pqrstuvwxyz")
processes = st.tuples(st.sampled_from(CGROUPS), st.sampled_from(NAMES))
calls = st.sampled_from(("read", "write", "openat", "close"))
jobs = st.lists(st.tuples(processes, st.integers(0, 10_000), calls), max_size=12)
renamed = st.dictionaries(processes, st.sampled_from(NAMES), max_size=2)
ticks = st.lists(
    st.tuples(jobs, st.sets(processes, max_size=6), st.sampled_from([1.0, 10.0, 100.0, EXPIRATION + 1]), renamed),
    min_size=1,
    max_size=12,
)


@settings(max_examples=50)
@given(ticks, st.integers(30, 250))
def test_in_every_interval_the_increases_of_all_rows_are_those_that_came(ticks, budget):
    """Rows come, go, expire, return and get longer names; no series falls while it is on the page, and the budget is
    kept."""
    machine, page = Machine(), Page(budget)
    for work, away, seconds, longer in ticks:
        for process, amount, call in work:
            machine.work(process, amount, call)
        machine.full |= {process: f"{process[1]}-{name}" for process, name in longer.items()}
        page.tick(machine, seconds, away)


@settings(max_examples=15)
@given(st.lists(st.permutations(range(6)), min_size=1, max_size=4), st.integers(250, 400))
def test_the_three_busiest_of_each_cgroup_have_names(ranks, budget):
    """However late they start: all others were active first, and had the budget for themselves."""
    machine, page = Machine(), Page(budget)
    idle = [(f"/{number}", f"idle{name}") for number in range(len(ranks)) for name in range(20)]
    for process in idle:
        machine.work(process, 1)
    page.tick(machine)
    for _ in range(15):
        for cgroup, order in enumerate(ranks):
            for rank, name in enumerate(order):
                machine.work((f"/{cgroup}", str(name)), 4 ** (rank + 2))
        shown = page.tick(machine, 30)

    for cgroup, order in enumerate(ranks):
        assert set(map(str, order[-3:])) <= names(shown, f"/{cgroup}")


@settings(max_examples=15)
@given(st.randoms(use_true_random=False))
def test_owners_of_similar_activity_do_not_take_turns(random):
    """Once owners are chosen, they keep their rows until another one is twice as active."""
    machine, page, decided = Machine(), Page(100), []
    for _ in range(20):
        for number in range(24):
            machine.work((f"/{number % 2}", str(number)), random.randint(1000, 1900))
        decided.append(names(page.tick(machine, 60)))

    assert "other" in decided[-1]
    assert [decided[8]] * 12 == decided[8:]
