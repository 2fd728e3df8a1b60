# SPDX-License-Identifier: Apache-2.0
"""Batches are refused above the soft limit, and queues are given up in order above the hard one."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_tree import MIB, MemoryTree
from pydantic import ValidationError

from ebpf_sidecar.pipeline import ComponentKind
from ebpf_sidecar.pipeline.component import ComponentId
from ebpf_sidecar.pipeline.errors import RefusedError
from ebpf_sidecar.pipeline.testing import FakeClock, RecordedTelemetry, check_contract, fake_context, frame
from ebpf_sidecar.processors.memory_limiter import MemoryLimiter, MemoryLimiterSettings, register_components

[FACTORY] = register_components()
BATCH = (frame("work.done", [1]),)
NAMES = ("a", "b", "c")


class FakeQueue:
    """A queue of so many MiB, of which the process keeps ``shared`` when it is given up."""

    def __init__(self, name, service, mib, shared=0.0):
        self.name, self.service, self.mib, self.shared = name, service, mib, shared

    def shed(self, wanted):
        given_up = min(self.mib, -(-wanted // MIB))
        self.mib -= given_up
        self.service.sheds.append((self.name, self.service.mib, given_up))
        self.service.mib -= int(given_up * (1 - self.shared))
        return given_up * MIB


class LimitedService:
    """A limiter, the queues that it may give up, and the memory of everything together."""

    def __init__(self, folder, queues=(), garbage=0, **settings):
        self.tree, self.clock, self.telemetry = MemoryTree(folder), FakeClock(), RecordedTelemetry()
        self.tree.machine(1000)
        self.sheds, self.garbage, self._mib = [], garbage, 0
        self.queues = {name: FakeQueue(name, self, *each) for name, each in queues}
        shed = [f"exporters/otlp/{name}" for name in self.queues]
        written = {"limit_mib": 200, "spike_limit_mib": 50, "shed": shed, **settings}
        ids = {ComponentId.parse(ComponentKind.EXPORTER, f"otlp/{name}"): each for name, each in self.queues.items()}
        context = fake_context(
            ComponentKind.PROCESSOR,
            "memory_limiter",
            clock=self.clock,
            telemetry=self.telemetry,
            paths=self.tree.paths,
            queues=lambda: ids,
        )
        self.limiter = MemoryLimiter(MemoryLimiterSettings(**written), context, self._collect, lambda: None)
        self.limiter.start()

    @property
    def mib(self):
        return self._mib

    @mib.setter
    def mib(self, mib):
        self._mib = mib
        self.tree.process("self", mib)

    def _collect(self):
        self.sheds.append(("garbage", self.mib, self.garbage))
        self.mib, self.garbage = self.mib - self.garbage, 0

    def accepts(self, mib, seconds=1.0):
        """Whether a batch passes after that time, with that much memory in use."""
        self.clock.advance(seconds)
        self.mib = mib
        try:
            return self.limiter.process(BATCH) is BATCH
        except RefusedError:
            return False


def test_the_contract_is_kept():
    """The processor behaves as every component must."""
    check_contract(FACTORY, {"limit_percentage": 90, "spike_limit_percentage": 20, "check_interval": "5s"})


def test_batches_are_refused_from_the_soft_limit_on(tmp_path):
    """And accepted again below it."""
    service = LimitedService(tmp_path)

    assert [True, True, False, False, True] == [service.accepts(mib) for mib in (0, 149, 150, 199, 149)]


def test_clients_are_asked_to_wait_until_the_next_check(tmp_path):
    """That is when the answer can be another one."""
    service = LimitedService(tmp_path, check_interval="2s")
    service.mib = 150

    with pytest.raises(RefusedError, match="memory limit reached") as refused:
        service.limiter.process(BATCH)
    assert 2.0 == refused.value.retry_after


def test_memory_is_read_once_in_an_interval(tmp_path):
    """Between two checks, the answer stays."""
    service = LimitedService(tmp_path)

    assert [True, True, False, False, True] == [
        service.accepts(mib, seconds) for mib, seconds in ((100, 1), (160, 0.9), (160, 0.1), (100, 0.5), (100, 0.5))
    ]


def test_the_beginning_and_the_end_are_reported_not_each_batch(tmp_path):
    """With the numbers that explain it."""
    service = LimitedService(tmp_path)
    for mib in (100, 160, 170, 160, 100):
        service.accepts(mib)

    [(stage, problem)] = service.telemetry.errors
    assert ("limiting", "160 MiB are in use, the soft limit is 150 of 200 MiB: batches are refused") == (stage, problem)
    assert {"limiting"} == set(service.telemetry.recoveries)


def test_limits_and_usage_are_published(tmp_path):
    """In bytes."""
    service = LimitedService(tmp_path)
    service.accepts(120)
    read = {name: int(gauge() / MIB) for name, gauge in service.telemetry.gauges.items()}
    prefix = "ebpf_sidecar.memory_limiter"

    assert {f"{prefix}.usage": 120, f"{prefix}.limit": 200, f"{prefix}.soft_limit": 150} == read


def test_unused_memory_is_given_back_first(tmp_path):
    """If that is enough, no queue loses anything, and only refusing goes on above the soft limit."""
    enough = LimitedService(tmp_path, [("a", (100,))], garbage=40)

    assert not enough.accepts(230)
    assert [("garbage", 230, 40)] == enough.sheds


def test_queues_are_given_up_in_order_until_below_the_soft_limit(tmp_path):
    """The second only once the first is empty, and of each no more than needed."""
    service = LimitedService(tmp_path, [("a", (30,)), ("b", (100,)), ("c", (100,))], garbage=10)

    assert service.accepts(250)
    assert ["garbage", "a", "a", "b"] == [name for name, _, _ in service.sheds]
    assert (0, 39, 100) == tuple(queue.mib for queue in service.queues.values())
    assert 149 == service.mib


def test_between_the_limits_no_queue_is_given_up(tmp_path):
    """Refusing may be enough."""
    service = LimitedService(tmp_path, [("a", (100,))])

    assert not service.accepts(199)
    assert 100 == service.queues["a"].mib


def test_refusing_for_half_a_minute_without_effect_gives_up_queues(tmp_path):
    """A queue whose back end is away would keep what it has, and the pipeline would refuse for as long."""
    service = LimitedService(tmp_path, [("a", (100,))])
    answers = [service.accepts(160) for _ in range(30)]

    assert [False] * 30 == answers
    assert 100 == service.queues["a"].mib
    assert service.accepts(160)
    assert 100 > service.queues["a"].mib > 80


def test_unused_memory_is_given_back_every_ten_seconds_while_batches_are_refused(tmp_path):
    """It may be what keeps memory there; looking for it takes time."""
    service = LimitedService(tmp_path, garbage=20)
    answers = [service.accepts(mib) for mib in (165, *[155] * 10, 100)]

    assert [True, *[False] * 10, True] == answers
    assert [165, 155] == [used for _, used, _ in service.sheds]


def test_when_nothing_is_left_to_give_up_batches_are_refused(tmp_path):
    """It tries again with the next check."""
    service = LimitedService(tmp_path, [("a", (30,))])

    assert [False, False, True] == [service.accepts(mib) for mib in (300, 300, 100)]


@st.composite
def queues(draw):
    """Queues with their size and how much of it others hold as well."""
    sizes = draw(st.lists(st.tuples(st.integers(0, 80), st.sampled_from([0.0, 0.5, 1.0])), max_size=3))
    return list(zip(NAMES, sizes, strict=False))


@given(queues(), st.lists(st.tuples(st.integers(0, 260), st.sampled_from([0.0, 0.4, 1.0, 30.0])), max_size=20))
def test_whatever_memory_does_the_rules_hold(queues, steps):
    """Refused exactly above the soft limit, as of the last check; given up only above the hard one or after refusing
    for half a minute, in order, and not a MiB longer than necessary."""
    with tempfile.TemporaryDirectory() as folder:
        service = LimitedService(Path(folder), queues)
        answer, since, refused = None, 0.0, None
        for mib, seconds in steps:
            service.sheds.clear()
            since += seconds
            accepted = service.accepts(mib, seconds)
            if answer is not None and since < 1.0:
                assert (answer, []) == (accepted, service.sheds)
            else:
                answer, since = accepted, 0.0
                assert accepted == (service.mib < 150)
                now = service.clock.monotonic()
                _order_was_kept(service, mib, above=mib >= 200 or (refused is not None and now - refused >= 30))
                refused = None if accepted else now if refused is None else refused


def _order_was_kept(service, mib, *, above):
    sheds = [each for each in service.sheds if each[0] != "garbage"]
    assert service.sheds or mib < 200
    assert not sheds or above
    assert [name for name, _, _ in sheds] == sorted(name for name, _, _ in sheds)
    assert all(used >= 150 for _, used, _ in sheds)
    if sheds and service.mib >= 150:
        assert not any(queue.mib for queue in service.queues.values())


@pytest.mark.parametrize(
    ("settings", "hard", "soft"),
    [
        ({"limit_mib": 100}, 100, 80),
        ({"limit_mib": 100, "spike_limit_mib": 30}, 100, 70),
        ({"limit_percentage": 50}, 500, 400),
        ({"limit_percentage": 50, "spike_limit_percentage": 30}, 500, 200),
        ({"limit_mib": 100, "limit_percentage": 50, "spike_limit_percentage": 30}, 100, 80),
    ],
)
def test_limits_are_those_of_the_collector(tmp_path, settings, hard, soft):
    """Percentages are of all memory, ``limit_mib`` wins, and a fifth is kept for spikes."""
    service = LimitedService(tmp_path, **{"limit_mib": 0, "spike_limit_mib": 0, **settings})

    assert (hard * MIB, soft * MIB) == (service.limiter._limits.hard, service.limiter._limits.soft)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"limit_mib": 0},
        {"limit_mib": 10, "spike_limit_mib": 10},
        {"limit_percentage": 101},
        {"limit_percentage": 50, "spike_limit_percentage": 60},
        {"limit_mib": 10, "spike_limit_percentage": 5},
        {"limit_mib": 10, "check_interval": "0s"},
        {"limit_mib": 10, "shed": "exporters/otlp"},
    ],
)
def test_wrong_settings_are_refused(settings):
    """Without a limit, with one that leaves nothing, or with a share above everything."""
    with pytest.raises(ValidationError):
        MemoryLimiterSettings(**settings)


def test_a_proc_that_cannot_be_read_is_an_error_not_a_refusal(tmp_path):
    """The graph counts it and passes the batch on."""
    with pytest.raises(OSError, match="statm"):
        LimitedService(tmp_path).limiter.process(BATCH)
