# SPDX-License-Identifier: Apache-2.0
"""Where batches go: each one way, whatever is connected meanwhile."""

import threading

from hypothesis import given
from hypothesis import strategies as st
from waiting import until

from ebpf_sidecar.pipeline.clock import Deadline, SystemClock
from ebpf_sidecar.pipeline.running.switch import Switch


def soon(seconds=5.0):
    """A moment from now."""
    return Deadline.after(seconds, SystemClock())


def test_a_batch_that_has_begun_stays_on_its_way_and_is_waited_for():
    """The next one goes the new way meanwhile; so a slow exporter holds up no reload."""
    switch = Switch("old")
    with switch.way() as first:
        switch.connect("new")
        with switch.way() as second:
            left = switch.until_left(soon(0.0))
    after = switch.until_left(soon(0.0))

    assert ("old", "new", False, True) == (first, second, left, after)


def test_batches_wait_while_the_switch_is_held():
    """And then go the way that is connected by then."""
    switch, taken = Switch("old"), []

    def pass_on():
        with switch.way() as target:
            taken.append(target)

    switch.hold()
    thread = threading.Thread(target=pass_on)
    thread.start()
    thread.join(0.1)
    before = list(taken)
    switch.connect("new")
    switch.release()
    thread.join(5)

    assert ([], ["new"]) == (before, taken)


def test_a_held_switch_is_left_when_the_current_batch_has_ended():
    """What is shut down then gets nothing more."""
    switch, release = Switch("old"), threading.Event()

    def pass_on():
        with switch.way():
            release.wait(5)

    thread = threading.Thread(target=pass_on)
    thread.start()
    assert until(lambda: switch._way.batches, 5)
    switch.hold()
    left = switch.until_left(soon(0.0))
    release.set()

    assert (False, True) == (left, switch.until_left(soon()))
    thread.join()


@given(st.lists(st.sampled_from(["begin", "end", "connect"]), max_size=40))
def test_it_remembers_only_ways_with_batches_on_them(steps):
    """However often it is connected."""
    switch, open_ways, number = Switch(0), [], 0
    for step in steps:
        if step == "begin":
            way = switch.way()
            open_ways.append((way, way.__enter__()))
        elif step == "end" and open_ways:
            open_ways.pop(0)[0].__exit__(None, None, None)
        elif step == "connect":
            number += 1
            switch.connect(number)

    former = {target for _, target in open_ways if target != number}
    assert len(switch._former) >= len(former)
    assert former == {way.target for way in switch._former if way.batches}
    assert switch.until_left(soon(0.0)) == (not former)
    for way, _ in open_ways:
        way.__exit__(None, None, None)
