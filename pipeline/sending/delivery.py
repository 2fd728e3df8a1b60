# SPDX-License-Identifier: Apache-2.0
"""Delivers to a back end: encodes each batch once, and sends its payloads until every point is settled."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ebpf_sidecar.pipeline.clock import Clock
from ebpf_sidecar.pipeline.component import Sender
from ebpf_sidecar.pipeline.frame import Frames
from ebpf_sidecar.pipeline.host import Telemetry
from ebpf_sidecar.pipeline.payload import LeftOut, Payload, SendError
from ebpf_sidecar.pipeline.push_settings import RetrySettings

from .accounting import SHUTDOWN, DeliveryAccounting, InFlightBatch
from .backoff import backoff_intervals


@dataclass
class Delivery:
    """Passes batches to ``sender``. Once ``stopped`` is set, each payload gets only one more attempt."""

    sender: Sender
    retry: RetrySettings
    account: DeliveryAccounting
    telemetry: Telemetry
    clock: Clock
    stopped: threading.Event
    random: Callable[[], float]

    def encode(self, frames: Frames, in_flight: InFlightBatch) -> list[Payload]:
        """The payloads of a batch; settles what the sender leaves out.

        Never raises: what was encoded before a failure is kept.

        Senders may remember what they encoded before, so callers encode batches in order and one at a time.
        """
        made: list[Payload | LeftOut] = []
        try:
            made.extend(self.sender.encode(frames))
        except BaseException as problem:  # noqa: BLE001 # a plugin's sender may fail in any way, and others must continue
            self.telemetry.error("encoding", problem)
            made.append(LeftOut(in_flight.points - sum(each.points for each in made), "encoding", lost=True))
        else:
            self.telemetry.recovered("encoding")
        self.account.left_out(in_flight, (each for each in made if isinstance(each, LeftOut)))
        return [each for each in made if not isinstance(each, LeftOut)]

    def deliver(self, payloads: Iterable[Payload], in_flight: InFlightBatch) -> None:
        """Settle an encoded batch that is in flight; never raises."""
        for payload in payloads:
            self.deliver_payload(payload, in_flight)
        self.account.finish(in_flight)

    def deliver_payload(
        self, payload: Payload, in_flight: InFlightBatch, shrunk: Callable[[Payload], None] | None = None
    ) -> bool:
        """Try until nothing of the payload remains; never raises.

        ``shrunk``: called with what remains after a partial delivery, by a queue that outlives the process. For such a
        queue, the stop settles nothing: the answer is false, and what remains waits for the next process.
        """
        pauses, give_up = backoff_intervals(self.retry, self.random), self._end()
        remaining, last = payload, self.stopped.is_set()
        while problem := self._attempt(remaining, in_flight):
            rest = problem.outcome(remaining).remaining
            if rest is None:
                return True
            if shrunk and rest is not remaining:
                shrunk(rest)
            remaining = rest
            pause = max(next(pauses), problem.retry_after)
            if reason := self._why_not_again(last, give_up - pause):
                if shrunk and reason == SHUTDOWN:
                    return False
                self.account.failed(in_flight, remaining.points, reason)
                return True
            last = self.clock.wait(self.stopped, pause)
        return True

    def _end(self) -> float:
        longest = self.retry.max_elapsed_time
        return self.clock.monotonic() + longest if longest else float("inf")

    def _why_not_again(self, last: bool, latest: float) -> str:  # noqa: FBT001 # private
        if not self.retry.enabled:
            return "retry_disabled"
        if last:
            return SHUTDOWN
        return "max_elapsed_time" if self.clock.monotonic() > latest else ""

    def _attempt(self, payload: Payload, in_flight: InFlightBatch) -> SendError | None:
        """Send, and settle what needs no further attempt; returns the problem, if there was one."""
        try:
            self.sender.send(payload)
        except SendError as error:
            problem = error
        except OSError as error:  # refused and broken connections, timeouts: the network may recover
            problem = SendError(f"{type(error).__name__}: {error}", retry=True)
        except BaseException as error:  # noqa: BLE001 # as above
            problem = SendError(f"{type(error).__name__}: {error}")
        else:
            self.account.sent(in_flight, payload.points)
            self.telemetry.recovered("sending")
            return None
        self.telemetry.error("sending", problem)
        outcome = problem.outcome(payload)
        for reason, number in outcome.rejected.items():
            self.account.failed(in_flight, number, reason)
        undelivered = sum(outcome.rejected.values()) + (outcome.remaining.points if outcome.remaining else 0)
        self.account.sent(in_flight, max(0, payload.points - undelivered))
        return problem
