# SPDX-License-Identifier: Apache-2.0
"""A real SkyWalking OAP server with rules of ours: what it stores of deltas, minute by minute."""

import json
import time
from pathlib import Path

import pytest
from oap_server import OapError, instance, needs_oap, oap_server
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_DELTA
from waiting import until

pytestmark = [pytest.mark.peer, needs_oap]

RULES = Path(__file__).parent / "data/oap_rules"
PREFIX = "meter_banyandb_kernel_instance"
CONTAINER = instance("bydb", "data@banyandb-data-0")
MINUTES = 3
PUSHES = 4
BOUNDS = [0.2, 0.5, 2, 50, 30_000]
"""Milliseconds."""
COUNTS = [50, 40, 8, 2, 0, 0]
READ = ("operation", "read")
EXPECTED = {
    "cache_read_attempts": {(): [16000, 32000, 48000]},
    "cache_misses": {(): [1200, 2400, 3600]},
    "page_cache_adds": {(("cause", "read"),): [800, 1600, 2400], (("cause", "write"),): [200, 400, 600]},
    "block_io_count": {(READ,): [400, 800, 1200]},
    "block_io_time_us": {(READ,): [122000, 244000, 366000]},
    "block_io_latency": {(READ, ("p", p)): [value] * 3 for p, value in (("50", 200), ("90", 500), ("99", 50000))},
}
"""For each minute, by labels."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One for all tests of this file: starting takes most of their time."""
    with oap_server(tmp_path_factory.mktemp("oap"), RULES) as running:
        yield running


@pytest.fixture(scope="module")
def minutes(server):
    """The beginnings of the minutes in which a container was busy: 1, 2 and 3 times as busy, every 15 s."""
    first = (int(time.time()) // 60 - MINUTES) * 60
    begun = [first + 60 * number for number in range(MINUTES)]
    for factor, minute in enumerate(begun, 1):
        for push in range(PUSHES):
            server.export(workload(minute + 15 * push, factor))
    return begun


def attributes(**values):
    """Texts by name, as the protocol has them."""
    return [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in values.items()]


def workload(seconds, factor):
    """What a container has counted since the request before."""
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    names = {"cluster": "bydb", "oap_instance": "data@banyandb-data-0", "job_name": "ebpf-sidecar"}
    resource.resource.attributes.extend(attributes(**names))
    metrics = resource.scope_metrics.add().metrics
    when = {"start_time_unix_nano": (seconds - 15) * 10**9, "time_unix_nano": seconds * 10**9}

    def add(name, **points):
        kind = metrics.add(name=name).sum
        kind.aggregation_temporality, kind.is_monotonic = AGGREGATION_TEMPORALITY_DELTA, True
        for cause, value in points.items():
            labels = attributes(cause=cause) if cause != "all" else []
            kind.data_points.add(as_int=value * factor, attributes=labels, **when)

    add("ebpf.cache.read_attempts", all=4000)
    add("ebpf.cache.misses", all=300)
    add("ebpf.page_cache.adds", read=200, write=50)
    duration = metrics.add(name="ebpf.block.io.duration").histogram
    duration.aggregation_temporality = AGGREGATION_TEMPORALITY_DELTA
    counts = [count * factor for count in COUNTS]
    duration.data_points.add(
        count=sum(counts),
        sum=30.5 * factor,
        bucket_counts=counts,
        explicit_bounds=BOUNDS,
        attributes=attributes(operation="read"),
        **when,
    )
    return request


def read(server, minutes, expression):
    """Values of the minutes in their order, by labels, as soon as there are as many as minutes."""

    def complete(answer):
        return answer and all(len(values) == MINUTES for values in answer.values())

    def asked():
        return server.mqe(expression, CONTAINER, minutes[0], minutes[-1])

    until(lambda: complete(asked()), 30)
    return {labels: [values.get(minute) for minute in minutes] for labels, values in asked().items()}


@pytest.mark.parametrize("name", EXPECTED)
def test_an_oap_server_has_for_each_minute_what_was_sent(server, minutes, name):
    """Sums, counts by a label, and the percentiles of a histogram."""
    assert EXPECTED[name] == read(server, minutes, f"{PREFIX}_{name}")


def test_an_oap_server_divides_in_queries(server, minutes):
    """With decimals, as rules cannot."""
    expression = f"{PREFIX}_cache_misses/{PREFIX}_cache_read_attempts*100"

    assert {(): [7.5, 7.5, 7.5]} == read(server, minutes, expression)


def test_an_oap_server_names_a_metric_that_no_rule_makes(server, minutes):
    """So that a test of a rule that did not load fails by its name."""
    with pytest.raises(OapError, match=r"meter_nothing.* does not exist"):
        server.mqe("meter_nothing", CONTAINER, minutes[0], minutes[-1])


def test_a_dashboard_can_be_uploaded(server):
    """And is there afterwards, as it was."""
    dashboard = {"layer": "K8S_SERVICE", "entity": "ServiceInstance", "name": "Ours", "isRoot": False, "children": []}

    assert (True, None) == server.add_dashboard(dashboard)
    [kept] = server.graphql("{ getAllTemplates { configuration } }")["getAllTemplates"]
    assert dashboard == json.loads(kept["configuration"])
