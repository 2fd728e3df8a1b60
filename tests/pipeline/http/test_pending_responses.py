# SPDX-License-Identifier: Apache-2.0
"""The memory that pending responses hold together."""

import io
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline.http.pending_responses import (
    MAX_RESPONSE_SECONDS,
    MAX_SHARED_AGE_SECONDS,
    SMALL_BYTES,
    STALLED_SECONDS,
    PendingResponses,
)

LIMIT = 1_000_000


class Time:
    """A clock that stands still until set."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def time():
    """With all clocks at zero."""
    return Time()


@pytest.fixture
def answers(time):
    """With a bound of a million bytes."""
    return PendingResponses(LIMIT, time)


def page(size=400_000):
    """New bytes each time."""
    return bytes(size)


def kept():
    """What gives up a client that must not be."""
    pytest.fail("given up although it need not be")


def begin(answers, body, closed=None):
    """A response that closes itself when given up, as a connection does, and records that."""
    under_way = []

    def give_up():
        under_way[0].close()
        closed.append(under_way[0])

    answer = answers.begin(body, kept if closed is None else give_up)
    under_way.append(answer)
    return answer


def test_clients_of_the_same_page_share_one_copy(answers):
    """A hundred of them hold no more memory than one."""
    body = page(LIMIT)
    tracemalloc.start()
    held = [answers.begin(body, kept) for _ in range(100)]
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert LIMIT == answers.bytes_held
    assert grown < LIMIT / 2
    assert {body[:10]} == {answer.read(10) for answer in held}


def test_another_copy_beyond_the_bound_is_refused(answers):
    """And taken again once an earlier one was let go."""
    first, _ = begin(answers, page()), begin(answers, page())
    refused = begin(answers, page())
    first.close()
    first.close()

    assert refused is None
    assert begin(answers, page()) is not None


def test_a_small_answer_is_never_refused(answers):
    """Such as that of /health."""
    begin(answers, page(LIMIT)), begin(answers, page(LIMIT))

    assert begin(answers, page(SMALL_BYTES)) is not None
    assert begin(answers, page(SMALL_BYTES + 1)) is None


def test_two_copies_are_held_however_large(answers):
    """A page larger than the bound can still be scraped by two scrapers that come at different times."""
    assert all(begin(answers, page(5 * LIMIT)) for _ in range(2))
    assert begin(answers, page(5 * LIMIT)) is None


def test_the_oldest_stalled_ones_are_given_up_for_a_new_one(answers, time):
    """All readers of that copy, and no others."""
    closed, old = [], page()
    stalled = [begin(answers, old, closed), begin(answers, old, closed)]
    begin(answers, page(), closed)
    time.now = STALLED_SECONDS

    assert begin(answers, page()) is not None
    assert stalled == closed


def test_a_client_that_keeps_reading_is_kept_for_a_while(answers, time):
    """Until a scraper would have given up, too."""
    closed = []
    slow, other = begin(answers, page(), closed), begin(answers, page(), closed)
    while time.now < MAX_RESPONSE_SECONDS - 0.5:
        time.now += 0.5
        slow.seek(1, io.SEEK_CUR)
        other.seek(1, io.SEEK_CUR)
    refused, alive = begin(answers, page()), list(closed)
    time.now = MAX_RESPONSE_SECONDS

    assert (None, []) == (refused, alive)
    assert begin(answers, page()) is not None
    assert [slow] == closed


def test_an_earlier_page_of_the_same_kind_is_shared_for_a_while(answers, time):
    """The newest of them."""
    pages, takers = [page(), page()], []
    for body in pages:
        takers.append(answers.begin(body, kept, "metrics"))
        time.now += 0.25
    shared, other = answers.begin(page(), kept, "metrics"), answers.begin(page(), kept, "other")
    time.now = 0.25 + MAX_SHARED_AGE_SECONDS
    for taker in (*takers, shared):
        taker.seek(1, io.SEEK_CUR)
    last = answers.begin(page(), kept, "metrics")
    time.now += 0.25

    assert id(pages[1]) == shared.key == last.key
    assert other is None
    assert answers.begin(page(), kept, "metrics") is None


def test_reading_is_not_taking(answers, time):
    """The server reads before it knows whether the socket accepts data."""
    answer = begin(answers, page())
    time.now = STALLED_SECONDS
    answer.read(10)
    answer.seek(0)
    before = answer.stalled(time.now)
    answer.seek(10, io.SEEK_CUR)

    assert (True, False) == (before, answer.stalled(time.now))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, LIMIT)), max_size=40))
def test_the_bound_holds_whatever_comes_and_goes(steps):
    """Never more than the bound, or two copies, or what small answers need; nothing is left at the end."""
    answers, held = PendingResponses(LIMIT, Time()), []
    for ends, size in steps:
        if ends and held:
            held.pop(size % len(held)).close()
        elif answer := begin(answers, page(size)):
            held.append(answer)
        small = sum(answer.size for answer in held if answer.size <= SMALL_BYTES)
        large = sorted(answer.size for answer in held if answer.size > SMALL_BYTES)

        assert answers.bytes_held <= small + max(LIMIT, sum(large[-2:]))
    for answer in held:
        answer.close()

    assert 0 == answers.bytes_held
