# SPDX-License-Identifier: Apache-2.0
"""A real SkyWalking OAP with our rules and our exporter: every metric has, in each minute, what was counted."""

import json
import re
import time

import pytest
from documents.tree import plugins
from oap_server import MQE, OapError, instance, needs_oap, oap_server, service
from oap_workload import CONTAINERS, MINUTES, READINGS, Workload
from skywalking.alarms import ALARMS
from skywalking.dashboards import NAMES, template
from skywalking.files import FOLDER, RULES, made
from skywalking.rules import INSTANCE, SERVICE
from skywalking.versions import for_older
from skywalking.widgets import widgets
from waiting import until

from ebpf_sidecar.exporters.skywalking_oap import OapExporter, OapSettings
from ebpf_sidecar.pipeline.component import ComponentKind
from ebpf_sidecar.pipeline.payload import Payload
from ebpf_sidecar.pipeline.telemetry.catalogue import catalogue
from ebpf_sidecar.pipeline.testing import FakeClock, fake_context

pytestmark = [pytest.mark.peer, needs_oap]

SECOND = 10**9
METRICS = [metric for metric in catalogue(plugins()) if metric.made_by.startswith("probe ")]
ENTITIES = {
    **{(INSTANCE, busy): instance("bydb", f"{id_[:12]}@banyandb-data-0") for id_, busy in CONTAINERS.items()},
    (SERVICE, sum(CONTAINERS.values())): service("bydb"),
}
"""With how busy each is."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One for all tests of this file: starting takes most of their time."""
    with oap_server(tmp_path_factory.mktemp("oap"), FOLDER / RULES) as running:
        yield running


@pytest.fixture(scope="module")
def minutes(server):
    """The beginnings of two past minutes, in which our exporter sent what was counted, every 15 s."""
    first = (int(time.time()) // 60 - MINUTES - 1) * 60
    since = (first - 1) * SECOND
    settings = {"endpoint": f"http://{server.grpc}", "cluster": "bydb", "pod_name": "banyandb-data-0"}
    context = fake_context(ComponentKind.EXPORTER, "skywalking_oap", clock=FakeClock(since))
    exporter = OapExporter(OapSettings.model_validate(settings), context)
    exporter.start()
    workloads = [Workload(place, metric) for place, metric in enumerate(METRICS)]
    for reading in range(MINUTES * READINGS):
        times = {"time_unix_nano": (first + 15 * reading) * SECOND, "start_time_unix_nano": since}
        frames = [each.reading(reading // READINGS + 1, **times) for each in workloads]
        for payload in exporter.encode(frames):
            if isinstance(payload, Payload):
                exporter.send(payload)
    exporter.shutdown()
    return [first + 60 * minute for minute in range(MINUTES)]


@pytest.fixture(scope="module")
def expected():
    """For each rule and entity, the values of the minutes by labels."""
    rules, workloads = made(METRICS), {each.name: Workload(place, each) for place, each in enumerate(METRICS)}
    return {
        (f"{scope.prefix}_{rule.name}", busy): {
            tuple(sorted(labels.items())): values for labels, values in workloads[rule.of.name].by_label(rule, busy)
        }
        for scope, busy in ENTITIES
        for rule in rules[scope]
    }


def answered(server, minutes, expression, entity):
    """Its values in the minutes, by labels."""
    answer = server.mqe(expression, entity, minutes[0], minutes[-1])
    return {labels: [values.get(minute) for minute in minutes] for labels, values in answer.items()}


def test_every_metric_has_in_each_minute_what_was_counted(server, minutes, expected):
    """Of both containers and of the cluster: counts, sums, levels, and percentiles."""
    entities = {busy: entity for (_, busy), entity in ENTITIES.items()}
    left = dict(expected)

    def found():
        return {(name, busy): answered(server, minutes, name, entities[busy]) for name, busy in left}

    def is_complete():
        for key, values in found().items():
            if values == expected[key]:
                del left[key]
        return not left

    until(is_complete, 60)
    assert 120 < len(expected)
    assert left == found()


@pytest.mark.parametrize("scope", NAMES, ids=lambda scope: scope.prefix)
def test_every_query_of_a_dashboard_has_an_answer(server, minutes, expected, scope):
    """One curve at least, with a value in each minute; a list of the busiest has all containers."""
    entity = next(each for (of, _), each in ENTITIES.items() if of == scope)

    def silent():
        shown = widgets(made(METRICS)[scope], scope)
        return [each.expression for each in shown if not has_values(server, minutes, each, entity)]

    until(lambda: not silent(), 60)
    assert [] == silent()


def has_values(server, minutes, widget, entity):
    """Whether a widget would show something."""
    if widget.is_top:
        return len(CONTAINERS) == len(top(server, minutes, widget.expression))
    answer = answered(server, minutes, widget.expression, entity)
    return bool(answer) and all(None not in values for values in answer.values())


def top(server, minutes, expression):
    """The values of a list of the containers of a cluster."""
    return values_without_time(server, minutes, expression, {"scope": "ServiceInstance", "serviceName": "bydb"})


def values_without_time(server, minutes, expression, entity):
    """The values of an answer that is no curve."""
    begin, end = (time.strftime("%Y-%m-%d %H%M", time.gmtime(each)) for each in (minutes[0], minutes[-1]))
    parts = {"entity": {**entity, "normal": True}, "duration": {"start": begin, "end": end, "step": "MINUTE"}}
    answer = server.graphql(MQE, expression=expression, **parts)["execExpression"]
    assert answer["error"] is None, answer
    return [each["value"] for result in answer["results"] for each in result["values"]]


def test_ratios_and_percentiles_are_right(server, minutes):
    """With decimals, and in milliseconds; percentiles are named."""
    container = ENTITIES[INSTANCE, 1]
    by_id = {widget.id: widget.expression for widget in widgets(made(METRICS)[INSTANCE], INSTANCE)}
    sizes = {metric.name: 10 + place for place, metric in enumerate(METRICS)}
    share = sizes["ebpf.cache.misses"] / sizes["ebpf.cache.read_attempts"] * 100
    until(lambda: None not in answered(server, minutes, by_id["cache_miss_rate"], container).get((), [None]), 30)
    latencies = answered(server, minutes, by_id["block_io_latency"], container)
    first = {
        dict(labels)["percentile"]: values for labels, values in latencies.items() if ("operation", "read") in labels
    }

    assert [pytest.approx(share)] * MINUTES == answered(server, minutes, by_id["cache_miss_rate"], container)[()]
    assert {"P50": [0.065] * 2, "P90": [1.048] * 2, "P99": [16.777] * 2} == first


def test_a_minute_without_reads_raises_no_alarm(server, minutes):
    """Its share of misses is no number, and a comparison with it is false."""
    busy = f"{INSTANCE.prefix}_cache_misses / {INSTANCE.prefix}_cache_read_attempts * 100 > 20"
    before = [minute - 600 for minute in minutes]

    assert {(): [1, 1]} == answered(server, minutes, busy, ENTITIES[INSTANCE, 1])
    assert all(value in (0, None) for values in answered(server, before, busy, ENTITIES[INSTANCE, 1]).values()
               for value in values)  # fmt: skip


@pytest.mark.parametrize("alarm", ALARMS, ids=lambda alarm: alarm.name)
def test_an_alarm_is_raised_above_its_limits_alone(server, minutes, alarm):
    """Two minutes are too short for all but OOM kills; with limits that they reach, each is raised."""
    container = ENTITIES[INSTANCE, 1]
    lower = re.sub(r"> \d+\)", "> 1)", alarm.expression).replace(">= 3", ">= 2")

    assert {"1"} == set(values_without_time(server, minutes, lower, container))
    assert {str(int(lower == alarm.expression))} == set(
        values_without_time(server, minutes, alarm.expression, container)
    )


@pytest.mark.parametrize("scope", NAMES, ids=lambda scope: scope.prefix)
def test_a_dashboard_is_taken(server, scope):
    """As it is in the file, with the layer of the release."""
    [dashboard] = json.loads(for_older(template(made(METRICS), scope)))

    assert (True, None) == server.add_dashboard(dashboard["configuration"])


def test_a_metric_that_no_rule_makes_is_refused(server, minutes):
    """What the tests above rely on."""
    with pytest.raises(OapError, match="does not exist"):
        server.mqe(f"{INSTANCE.prefix}_none", ENTITIES[INSTANCE, 1], minutes[0], minutes[-1])
