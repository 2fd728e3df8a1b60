# SPDX-License-Identifier: Apache-2.0
"""One batch on its way to a back end: encoded once, retried where that can help, each point accounted for once."""

from itertools import repeat

import pytest
from observed_queue import DOWN, ObservedQueue

from ebpf_sidecar.pipeline.payload import Payload, SendError
from ebpf_sidecar.pipeline.testing import FakeClock, FakeSender, frame


def test_a_temporary_failure_is_retried_with_the_same_bytes():
    """A batch is encoded once, delivered once the back end is there again, and the recovery is reported."""
    sender, clock = FakeSender([DOWN, DOWN]), FakeClock()
    queue = ObservedQueue(sender, clock, initial_interval="1s", multiplier=2)
    queue.start()
    queue.consume([frame("m", [1])])
    for seconds in (1.0, 2.0):
        clock.until_waiting()
        clock.advance(seconds)
    sender.until(1)
    queue.shutdown()

    assert 1 == sender.encoded
    assert {"sent": 1} == queue.accounting
    assert "sending" in queue.telemetry.recoveries


def test_a_back_end_that_names_a_time_is_left_alone_until_then():
    """``Retry-After`` is longer than our own wait would be."""
    sender, clock = FakeSender([SendError("busy", retry=True, retry_after=60.0)]), FakeClock()
    queue = ObservedQueue(sender, clock, initial_interval="1s")
    queue.start()
    queue.consume([frame("m", [1])])
    clock.until_waiting()
    clock.advance(59.0)
    early = list(sender.payloads)
    clock.advance(1.0)
    sender.until(1)
    queue.shutdown()

    assert [] == early
    assert {"sent": 1} == queue.accounting


@pytest.mark.parametrize("problem", [ConnectionRefusedError("nobody there"), TimeoutError("too slow")])
def test_a_network_that_fails_is_tried_again(problem):
    """A sender need not translate what its sockets raise."""
    sender = FakeSender([problem])
    queue = ObservedQueue(sender, initial_interval="1ms")
    queue.start()
    queue.consume([frame("m", [1])])
    sender.until(1)
    queue.shutdown()

    assert {"sent": 1} == queue.accounting


def test_what_was_rejected_in_part_cannot_be_sent_again_as_it_was():
    """Else the points that were delivered or rejected would be sent twice."""
    with pytest.raises(ValueError, match="pass remaining"):
        SendError("in part", retry=True, rejected={"bad_value": 2})


def test_a_permanent_failure_loses_that_batch_alone():
    """What a back end refuses is counted, and the next batch goes through."""
    sender = FakeSender([SendError("refused"), RuntimeError("bug")])
    queue = ObservedQueue(sender)
    queue.start()
    for number in range(3):
        queue.consume([frame("m", [number, number])])
    queue.shutdown()

    assert {"sent": 2, "send_failed": 4} == queue.accounting
    assert {"refused": 4} == queue.telemetry.drops
    assert [("sending", "refused"), ("sending", "RuntimeError: bug")] == queue.telemetry.errors


def test_of_a_payload_that_is_taken_in_part_only_the_rest_is_lost_or_sent_again():
    """Two points are refused for good, one remains, and three were delivered at once."""
    rest = Payload(b"m 6", 1)
    sender = FakeSender([SendError("in part", retry=True, rejected={"bad_value": 2}, remaining=rest)])
    queue = ObservedQueue(sender, initial_interval="1ms")
    queue.start()
    queue.consume([frame("m", [1, 2, 3, 4, 5, 6])])
    sender.until(1)
    queue.shutdown()

    assert ["m 6"] == sender.delivered
    assert {"sent": 4, "send_failed": 2} == queue.accounting
    assert {"bad_value": 2} == queue.telemetry.drops


def test_each_payload_of_a_batch_has_its_own_end():
    """The first is refused, the second delivered at the second attempt."""
    sender = FakeSender([SendError("too old"), DOWN], points_each=2)
    queue = ObservedQueue(sender, initial_interval="1ms")
    queue.start()
    queue.consume([frame("m", [1, 2, 3, 4])])
    sender.until(1)
    queue.shutdown()

    assert ["m 3", "m 4"] == sender.delivered
    assert {"sent": 2, "send_failed": 2} == queue.accounting


@pytest.mark.parametrize(
    ("retry", "reason"),
    [
        ({"initial_interval": "1s", "max_elapsed_time": "2s"}, "max_elapsed_time"),
        ({"enabled": False}, "retry_disabled"),
    ],
)
def test_trying_again_has_an_end(retry, reason):
    """A batch that can never be delivered does not block the queue for ever."""
    sender, clock = FakeSender(repeat(DOWN)), FakeClock()
    queue = ObservedQueue(sender, clock, multiplier=1, **retry)
    queue.start()
    queue.consume([frame("m", [1])])
    if "enabled" not in retry:
        for _ in range(2):
            clock.until_waiting()
            clock.advance(1.0)
    queue.accounting.failed.wait(5)
    queue.shutdown()

    assert {"send_failed": 1} == queue.accounting
    assert {reason: 1} == queue.telemetry.drops


def test_a_stopped_queue_retries_temporary_failures_once():
    """A back end that is available again gets the last values; otherwise it does not block the service."""
    for problems, expected in ((1, {"sent": 1}), (9, {"send_failed": 1})):
        sender, clock = FakeSender([DOWN] * problems), FakeClock()
        queue = ObservedQueue(sender, clock)
        queue.start()
        queue.consume([frame("m", [1])])
        clock.until_waiting()
        queue.shutdown()

        assert expected == queue.accounting


def test_a_sender_that_ends_its_thread_loses_that_batch_alone():
    """sys.exit in a plugin is a failure as any other."""
    queue = ObservedQueue(FakeSender([SystemExit(3)]))
    queue.start()
    for number in range(2):
        queue.consume([frame("m", [number])])
    queue.shutdown()

    assert {"sent": 1, "send_failed": 1} == queue.accounting
    assert {"refused": 1} == queue.telemetry.drops


def test_only_what_cannot_be_encoded_is_lost_and_it_is_named():
    """Also in the middle of a batch: earlier payloads were sent."""

    class Breaks(FakeSender):
        def encode(self, frames):
            yield from super().encode(frames[:1])
            if len(frames) > 1:
                raise ValueError("no such unit")

    queue = ObservedQueue(Breaks())
    queue.start()
    queue.consume([frame("m", [1, 2]), frame("n", [3])])
    queue.consume([frame("m", [4])])
    queue.shutdown()

    assert {"sent": 3, "send_failed": 1} == queue.accounting
    assert {"encoding": 1} == queue.telemetry.drops
    assert [("encoding", "no such unit")] == queue.telemetry.errors


def test_what_a_sender_leaves_out_is_lost_or_filtered_as_it_says():
    """Each point counts once, and only a loss is reported."""
    queue = ObservedQueue(FakeSender(lost=["old"], filtered=["idle"]))
    queue.start()
    queue.consume([frame("old", [1]), frame("idle", [2, 3]), frame("m", [4, 5, 6])])
    queue.shutdown()

    assert {"sent": 3, "send_failed": 1, "filtered empty": 2} == queue.accounting
    assert {"unwanted": 1} == queue.telemetry.drops


def test_what_a_sender_neither_sends_nor_leaves_out_failed():
    """No point counts twice; nor do points that were never offered."""
    for points, expected in ((1, {"sent": 1, "send_failed": 2}), (9, {"sent": 3})):
        sender = FakeSender()
        sender.encode = lambda frames, points=points: [Payload(b"", points)]
        queue = ObservedQueue(sender)
        queue.start()
        queue.consume([frame("m", [1, 2, 3])])
        queue.shutdown()

        assert expected == queue.accounting
        assert {} == queue.telemetry.drops
