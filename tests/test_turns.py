# SPDX-License-Identifier: Apache-2.0
"""Which tests run side by side: many, or one that is alone."""

import threading

import pytest
from turns import Turns
from waiting import until


@pytest.fixture
def turns(tmp_path):
    """Make what another process would have: locks are between open files, not between processes."""
    for name in ("door", "room"):
        (tmp_path / name).touch()
    return lambda: Turns(tmp_path / "door", tmp_path / "room")


@pytest.fixture
def waits(turns):
    """Begin a turn in a thread; tells whether it has begun, and ends it."""
    begun = []

    def waits(*, alone):
        has_begun, may_end, ours = threading.Event(), threading.Event(), turns()

        def take_turn():
            ours.begin(alone=alone)
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


def test_tests_run_side_by_side(turns, waits):
    """Unless one of them asks to be alone."""
    turns().begin(alone=False)

    assert waits(alone=False)[0].wait(10)
    assert waits(alone=False)[0].wait(10)


@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True), (True, True)])
def test_nothing_runs_beside_one_that_is_alone(turns, waits, first, second):
    """Whichever came first; the other has its turn afterwards."""
    ours = turns()
    ours.begin(alone=first)
    ours.begin(alone=first)  # the next one of the same kind shares the turn
    begun, _ = waits(alone=second)

    assert not begun.wait(0.1)
    ours.end()
    assert begun.wait(10)


def test_nobody_overtakes_one_that_waits_to_be_alone(turns, waits):
    """Else others, of whom there is always one inside, would keep it waiting until all have ended."""
    ours = turns()
    ours.begin(alone=False)
    alone, may_end = waits(alone=True)
    assert not alone.wait(0.1)
    later, _ = waits(alone=False)

    assert not later.wait(0.1)
    ours.end()
    assert alone.wait(10)
    assert not later.is_set()
    may_end.set()
    assert until(later.is_set)


def test_a_test_that_is_alone_is_alone_after_one_that_was_not(turns, waits):
    """In the same process: the turn is given back and taken anew."""
    ours = turns()
    ours.begin(alone=False)
    ours.begin(alone=True)
    begun, _ = waits(alone=False)

    assert not begun.wait(0.1)
    ours.end()
    assert begun.wait(10)
