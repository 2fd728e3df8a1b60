# SPDX-License-Identifier: Apache-2.0
"""Which tests run side by side: many, one that is alone, or one that has the kernel to itself."""

import threading

import pytest
from turns import FairLock, Turn, Turns
from waiting import until

ANY, KERNEL, KERNEL_ALONE, ALONE = Turn
APART = {
    frozenset(pair)
    for pair in [
        (ALONE,),
        (KERNEL_ALONE,),
        *((ALONE, other) for other in (ANY, KERNEL, KERNEL_ALONE)),
        (KERNEL, KERNEL_ALONE),
    ]
}
"""What never runs at the same time; of one kind: two of them."""


@pytest.fixture
def turns(tmp_path):
    """Make what another process would have: locks are between open files, not between processes."""
    files = [tmp_path / name for name in ("machine door", "machine", "kernel door", "kernel")]
    for file in files:
        file.touch()
    return lambda: Turns(FairLock(*files[:2]), FairLock(*files[2:]))


@pytest.fixture
def waits(turns):
    """Start a turn in a thread; reports whether it has started, and ends it."""
    begun = []

    def waits(turn):
        has_begun, may_end, ours = threading.Event(), threading.Event(), turns()

        def take_turn():
            ours.start(turn)
            has_begun.set()
            may_end.wait(10)
            ours.end()

        thread = threading.Thread(target=take_turn)
        thread.start()
        begun.append((thread, may_end))
        return has_begun, may_end

    yield waits
    for thread, may_end in begun:
        may_end.set()
        thread.join(10)


@pytest.mark.parametrize("first", Turn, ids=lambda turn: turn.name)
@pytest.mark.parametrize("second", Turn, ids=lambda turn: turn.name)
def test_only_what_disturbs_waits(turns, waits, first, second):
    """Whichever is first; the other has its turn afterwards."""
    ours = turns()
    ours.start(first)
    ours.start(first)  # the next one of the same kind shares the turn
    begun, _ = waits(second)

    assert begun.wait(0.1 if {first, second} in APART else 10) is ({first, second} not in APART)
    ours.end()
    assert begun.wait(10)


@pytest.mark.parametrize(("many", "one"), [(ANY, ALONE), (KERNEL, KERNEL_ALONE), (KERNEL_ALONE, ALONE)])
def test_no_turn_overtakes_one_that_waits_to_be_alone(turns, waits, many, one):
    """Otherwise overlapping others would keep it waiting until all have ended."""
    ours = turns()
    ours.start(many)
    alone, may_end = waits(one)
    assert not alone.wait(0.1)
    later, _ = waits(many)

    assert not later.wait(0.1)
    ours.end()
    assert alone.wait(10)
    assert not later.is_set()
    may_end.set()
    assert until(later.is_set)


@pytest.mark.parametrize(("before", "then"), [(ANY, ALONE), (KERNEL, KERNEL_ALONE), (KERNEL_ALONE, ALONE)])
def test_a_test_that_is_alone_is_alone_after_one_that_was_not(turns, waits, before, then):
    """In the same process: the turn is released and acquired again."""
    ours = turns()
    ours.start(before)
    ours.start(then)
    begun, _ = waits(before)

    assert not begun.wait(0.1)
    ours.end()
    assert begun.wait(10)
