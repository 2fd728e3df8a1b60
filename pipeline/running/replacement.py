# SPDX-License-Identifier: Apache-2.0
"""Replaces the running graph by its successor: no batch is lost or doubled, and a failure leaves the old one running.

1. New components start; receivers among them wait with their first batch.
2. Those that need what a running component has (a port) start once that one is shut down; meanwhile the receivers that
   stay wait with their batches. If one cannot start, what was shut down for it is created again.
3. The receivers that stay are switched to the new pipelines, between two batches. Those that go read one last time into
   the old pipelines, then the new ones may begin.
4. What is left of the old graph drains, while the new one works.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from ebpf_sidecar.pipeline.clock import Clock, Deadline
from ebpf_sidecar.pipeline.component import CleansMaps, MapCleanup
from ebpf_sidecar.pipeline.errors import SidecarError

from .graph import requested_cleanup
from .lifecycle import Graph
from .nodes import ReceiverNode
from .parts import PartKey
from .reload_plan import ReloadPlan

log = logging.getLogger(__name__)
_PATIENCE_SECONDS = 5.0
"""For a batch that is under way, a last reading, and what could not start: then the reload goes on without them."""


Interruptible = Callable[[], AbstractContextManager[object]]
"""Around what may take long, and can be given up when the service is asked to stop."""


class NotRestoredError(SidecarError):
    """A reload has failed, and what had made room for it cannot be started again."""


@dataclass
class Replacement:
    """One reload. ``restored``: creates the old graph again, whose components in ``plan.first`` are new ones."""

    old: Graph
    new: Graph
    plan: ReloadPlan
    restored: Callable[[], Graph]
    seconds: float
    """How long the old components may take to drain."""
    clock: Clock
    running: Graph = field(init=False)
    """The graph that runs now, whether the reload succeeded or not."""

    def __post_init__(self) -> None:
        self.running = self.old

    def run(self, interruptible: Interruptible = nullcontext) -> None:
        """Replace the graph; `retire` is left to do.

        Raises `SidecarError` if something cannot start; then the old graph runs on. Raises `NotRestoredError` if even
        that is impossible.
        """
        early, late = self.new.only(self.plan.fresh - self.plan.last), self.new.only(self.plan.last)
        try:
            with interruptible():
                early.start()
        except BaseException:
            late.shutdown(_PATIENCE_SECONDS)
            raise
        if self.plan.first or self.plan.last:
            self._make_room(early, late)
        self._switch(self.new)
        self.running = self.new

    def retire(self) -> None:
        """Drain what is left of the old graph; it gets nothing more."""
        deadline = self._deadline()
        for node in self.new.receivers:
            node.switch.until_left(deadline)
        _drain(self._leaving(), self.seconds)
        self.old = self.running  # nothing of the old graph is needed any more, and it may hold a large page
        gc.collect()  # its parts refer to each other

    def _leaving(self) -> Graph:
        return self.old.only(self.plan.gone - self.plan.first)

    def _deadline(self) -> Deadline:
        return Deadline.after(_PATIENCE_SECONDS, self.clock)

    def _make_room(self, early: Graph, late: Graph) -> None:
        staying = [node for node in self.old.receivers if PartKey(node.id) not in self.plan.first]
        try:
            _hold(staying, self._deadline())
            _drain(self.old.only(self.plan.first), self.seconds)
            late.start()
        except SidecarError as problem:
            early.shutdown(_PATIENCE_SECONDS)
            self._restore(problem)
            raise

    def _restore(self, problem: SidecarError) -> None:
        try:
            self.running = self.restored()
            self.running.only(self.plan.first).start()
        except SidecarError as cause:
            message = f"{problem}; and what ran before cannot be started again: {cause.component}: {cause}"
            raise NotRestoredError(message, component=problem.component) from cause
        _connect(self.running, self.running.receivers)

    def _switch(self, graph: Graph) -> None:
        """From now on ``graph`` gets all batches."""
        staying = [node for node in graph.receivers if PartKey(node.id) in self.plan.kept]
        for node in staying:
            _clean(node, requested_cleanup(node.id, node.pipelines), requested_cleanup(node.id, graph.feeds[node.id]))
        _connect(graph, staying)
        for problem in self._leaving().stop_receivers(self._deadline()):
            log.error("%s", problem)
        _connect(graph, graph.receivers)


def _hold(nodes: Iterable[ReceiverNode], deadline: Deadline) -> None:
    """Let batches wait, and those that have begun end."""
    for node in nodes:
        node.switch.hold()
    for node in nodes:
        node.switch.until_left(deadline)


def _connect(graph: Graph, nodes: Iterable[ReceiverNode]) -> None:
    for node in nodes:
        if node.pipelines is not graph.feeds[node.id]:
            node.switch.connect(graph.feeds[node.id])
        node.switch.release()


def _clean(node: ReceiverNode, before: MapCleanup | None, now: MapCleanup | None) -> None:
    if before != now and isinstance(node.receiver, CleansMaps):
        node.receiver.clean_maps(now or MapCleanup())


def _drain(graph: Graph, seconds: float) -> None:
    for problem in graph.shutdown(seconds):
        log.error("not drained within %gs: %s", seconds, problem)
