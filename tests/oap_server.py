# SPDX-License-Identifier: Apache-2.0
"""A real SkyWalking OAP server, with rules of ours, and what it answers."""

import json
import subprocess
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
from oap_configuration import write_configuration
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
from peers import VERSIONS, cached, free_addresses, needs_peer, running

MAIN = "org.apache.skywalking.oap.server.starter.OAPServerStartUp"
PERSIST_SECONDS = 1
"""How long after a request its values can be read."""
MQE = """
query ($expression: String!, $entity: Entity!, $duration: Duration!) {
  execExpression(expression: $expression, entity: $entity, duration: $duration) {
    error results { metric { labels { key value } } values { id value } }
  }
}"""
needs_oap = needs_peer("oap", run_by="java")
ADD_TEMPLATE = "mutation ($setting: NewDashboardSetting!) { addTemplate(setting: $setting) { status message } }"


class OapError(Exception):
    """What the server has against a query."""


@dataclass(frozen=True)
class Oap:
    """A running server, and where it listens: ``host:port`` each."""

    grpc: str
    http: str
    log: Path
    process: subprocess.Popen

    def export(self, request, seconds=30):
        """Its answer to a request with metrics; raises ``grpc.RpcError`` where it refuses it."""
        with grpc.insecure_channel(self.grpc) as channel:
            return MetricsServiceStub(channel).Export(request, timeout=seconds)

    def graphql(self, query, **variables):
        """The data of an answer; raises ``OapError`` where the query is wrong, ``OSError`` while it is starting."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"http://{self.http}/graphql", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as reply:
            answer = json.load(reply)
        if answer.get("errors"):
            raise OapError(answer["errors"])
        return answer["data"]

    def mqe(self, expression, entity, start, end):
        """What an expression gives in each minute from start to end (Unix seconds, inclusive).

        By sorted labels: ``{(("cause", "read"),): {1764360000: 800}}``, with the beginning of each minute that has a
        value; a metric without labels has the key ``()``. Empty until the values are stored, ``PERSIST_SECONDS`` and a
        little more after they were sent; an idle minute may have no value or 0.
        """
        duration = {"start": _minute(start), "end": _minute(end), "step": "MINUTE"}
        answer = self.graphql(MQE, expression=expression, entity=entity, duration=duration)["execExpression"]
        if answer["error"]:
            raise OapError(answer["error"])
        return {_labels(each["metric"]): _values(each["values"]) for each in answer["results"]}

    def add_dashboard(self, configuration):
        """Upload a dashboard's configuration; whether it was taken, and why not."""
        setting = {"configuration": json.dumps(configuration)}
        answer = self.graphql(ADD_TEMPLATE, setting=setting)["addTemplate"]
        return answer["status"], answer["message"]

    def _is_up(self):
        try:
            return self.graphql("{ version }")["version"].startswith(VERSIONS["oap"])
        except OSError:
            return False


def instance(service, name):
    """The entity of an instance of a service."""
    return {"scope": "ServiceInstance", "serviceName": service, "serviceInstanceName": name, "normal": True}


def service(name):
    """The entity of a service."""
    return {"scope": "Service", "serviceName": name, "normal": True}


@contextmanager
def oap_server(folder, rules):
    """A server with the rule files of a folder; with an empty memory each time, and a log in the folder."""
    grpc_address, http_address = free_addresses(2)
    write_configuration(folder / "config", rules, grpc_address, http_address, PERSIST_SECONDS)
    options = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Duser.timezone=UTC"]
    command = ["java", *options, "-cp", f"{folder}/config:{cached('oap')}/libraries/*", MAIN]
    log = folder / "log"
    waiting = Oap(grpc_address, http_address, log, None)
    with running(command, log, waiting._is_up) as process:
        yield Oap(grpc_address, http_address, log, process)


def _minute(seconds):
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H%M")


def _labels(metric):
    return tuple(sorted((label["key"], label["value"]) for label in metric["labels"]))


def _values(values):
    return {int(each["id"]) // 1000: float(each["value"]) for each in values if each["value"] is not None}
