# SPDX-License-Identifier: Apache-2.0
"""Alive and ready are judged by heartbeats."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline.errors import SidecarError
from ebpf_sidecar.pipeline.host import Request
from ebpf_sidecar.pipeline.http.status_pages import RoutesWithStatusPages, StatusPages
from ebpf_sidecar.pipeline.telemetry.health import Health
from ebpf_sidecar.pipeline.telemetry.ledger import SENT, Ledger
from ebpf_sidecar.pipeline.testing import FakeClock, RecordedRoutes


def started(clock):
    """A service with a receiver that beats every second."""
    health = Health(clock)
    health.heartbeat("receiver ebpf").expect(1.0)
    health.started()
    return health


def test_a_receiver_that_was_silent_for_three_intervals_makes_the_service_unhealthy():
    """Three missed beats are tolerated, not a second more."""
    clock = FakeClock()
    health = started(clock)
    clock.advance(3.0)
    bearable = health.problems()
    clock.advance(0.1)

    assert [] == bearable
    assert ["receiver ebpf: no heartbeat for 3.1s, expected every 1s"] == health.problems()


def test_a_component_of_a_short_interval_is_silent_only_after_seconds():
    """On a busy machine any thread may wait for a tenth of a second; that must not cause a restart."""
    clock = FakeClock()
    health = Health(clock)
    health.heartbeat("receiver replay").expect(0.05)
    clock.advance(3.0)
    bearable = health.problems()
    clock.advance(0.1)

    assert [] == bearable
    assert ["receiver replay: no heartbeat for 3.1s, expected every 0.05s"] == health.problems()


def test_a_beat_makes_it_healthy_again():
    """Liveness is about now."""
    clock = FakeClock()
    health = started(clock)
    clock.advance(10.0)
    health.heartbeat("receiver ebpf").beat()

    assert [] == health.problems()


def test_a_component_without_heartbeat_is_not_waited_for():
    """Only components that expect beats are reported."""
    clock = FakeClock()
    health = started(clock)
    health.heartbeat("receiver ebpf").stop()
    clock.advance(100.0)

    assert [] == health.problems()


def test_ready_means_started_delivered_and_not_stopping():
    """Readiness follows the service's life."""
    clock = FakeClock()
    health = Health(clock)
    seen = [health.unready()]
    health.heartbeat("receiver ebpf").expect(1.0)
    health.started()
    seen.append(health.unready())
    health.heartbeat("receiver ebpf").beat()
    seen.append(health.unready())
    health.stopping()
    seen.append(health.unready())

    assert [["starting"], ["receiver ebpf: has not delivered data yet"], [], ["shutting down"]] == seen


def pages(clock, health):
    """Status pages with one counter."""
    ledger = Ledger()
    ledger.add(SENT, 7, (("exporter", "prometheus"),))
    return StatusPages(health, ledger, clock, "1.0", lambda: [{"id": "metrics"}], clock.monotonic())


def test_the_pages_answer_503_with_the_reason():
    """A probe sees the status, a person the reason."""
    clock = FakeClock()
    health = started(clock)
    clock.advance(9.0)
    answer = pages(clock, health).alive(Request("GET", "/health", {}))

    assert 503 == answer.status
    assert "no heartbeat for" in json.loads(answer.body)["problems"][0]


def test_the_statistics_show_what_the_ledger_holds():
    """One truth for /metrics and /api/v1/stats."""
    clock = FakeClock()
    health = started(clock)
    clock.advance(2.0)
    content = json.loads(pages(clock, health).stats(Request("GET", "/api/v1/stats", {})).body)

    assert [{"id": "metrics"}] == content["pipelines"]
    assert {"attributes": {"exporter": "prometheus"}, "name": SENT.name, "value": 7} in content["metrics"]


def test_status_pages_come_along_with_each_endpoint_once():
    """Whoever opens an endpoint gets /health, /ready and /api/v1/stats on it."""
    clock, routes = FakeClock(), RecordedRoutes()
    with_pages = RoutesWithStatusPages(routes, pages(clock, started(clock)))
    with_pages.add("127.0.0.1:1", "/metrics", lambda request: None)
    with_pages.add("127.0.0.1:1", "/other", lambda request: None)

    assert {"/metrics", "/other", "/health", "/ready", "/api/v1/stats"} == {path for _, path in routes.handlers}
    assert 200 == routes.get("/health").status


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["127.0.0.1:1", ":2"]), st.sampled_from(["/a", "/b"]))))
def test_status_pages_are_there_while_a_component_answers(steps):
    """On each endpoint on its own; a path that is taken or not there changes nothing."""
    clock, routes = FakeClock(), RecordedRoutes()
    with_pages, expected = RoutesWithStatusPages(routes, pages(clock, started(clock))), set()
    for adds, endpoint, path in steps:
        if not adds:
            with_pages.remove(endpoint, path)
            expected.discard((endpoint, path))
        elif (endpoint, path) in expected:
            with pytest.raises(SidecarError, match="is taken"):
                with_pages.add(endpoint, path, lambda request: None)
        else:
            with_pages.add(endpoint, path, lambda request: None)
            expected.add((endpoint, path))
    status = {(endpoint, page) for endpoint, _ in expected for page in ("/health", "/ready", "/api/v1/stats")}

    assert expected | status == routes.handlers.keys()
