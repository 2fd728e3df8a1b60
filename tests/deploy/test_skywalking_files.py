# SPDX-License-Identifier: Apache-2.0
"""deploy/skywalking/: made from the catalogue, right for each release of OAP, and without a name that nobody makes."""

import json
import shutil
import subprocess
from functools import cache

import pytest
import yaml
from documents.tree import plugins
from skywalking.check import LONGEST, check_rules
from skywalking.dashboards import NAMES
from skywalking.files import FOLDER, made, stale
from skywalking.mqe import expression_problems, made_by_rules, reads
from skywalking.rules import INSTANCE, SERVICE
from skywalking.rules_text import FILES
from skywalking.versions import VERSIONS, default_layer, for_older

from ebpf_sidecar.pipeline.config.load import load
from ebpf_sidecar.pipeline.frame import Kind
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.telemetry.catalogue import catalogue

RULE_FILES = {scope: FOLDER / "otel-rules/ebpf-sidecar" / name for name, scope in FILES.items()}
needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")


@cache
def metrics():
    """The catalogue of our own components."""
    return list(catalogue(plugins()))


@cache
def rules():
    """All rules, by scope."""
    return made(metrics())


def read(name):
    """A file as JSON."""
    return json.loads((FOLDER / name).read_text())


def template(scope):
    """The one dashboard of a file for 10.x."""
    [dashboard] = read(f"dashboards/10/{NAMES[scope].lower()}.json")
    return dashboard


def expressions():
    """Every query, with where it stands and the scope of its page."""
    for scope in NAMES:
        for child in template(scope)["configuration"]["children"]:
            yield from ((scope, each) for each in child["expressions"])
    for page, scope in (("service", SERVICE), ("instance", INSTANCE)):
        yield from ((scope, each) for widget in read("dashboards/11/banyandb-widgets.json")[page]
                    for each in widget["expressions"])  # fmt: skip
    alarms = yaml.safe_load((FOLDER / "alarm-settings.yaml").read_text())["rules"]
    yield from ((INSTANCE, alarm["expression"]) for alarm in alarms.values())


def test_the_committed_files_are_what_the_catalogue_says():
    """The same check as `make check`; after a change `make docs` writes them."""
    assert [] == stale(metrics()), "run make docs"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("scope", RULE_FILES, ids=lambda scope: scope.prefix)
def test_the_rules_are_right_for_each_release(scope, version):
    """With the layer replaced, as the page says, where the release does not have it."""
    text = RULE_FILES[scope].read_text()

    assert [] == check_rules(text if default_layer(version) == "BANYANDB" else for_older(text), version)


def test_every_metric_of_the_probes_has_a_rule_and_no_other_metric_has():
    """Percentages are made in queries, and what the service says about itself is for others."""
    measured = {metric.name for metric in metrics() if metric.made_by.startswith("probe ")}

    assert measured == {rule.of.name for rule in rules()[INSTANCE]}
    assert 20 < len(measured)


def test_a_service_has_what_can_be_added_up():
    """Levels of several containers would be averaged."""
    levels = {rule.name for rule in rules()[INSTANCE] if rule.of.kind not in (Kind.COUNTER, Kind.HISTOGRAM)}
    names = {scope: {rule.name for rule in rules()[scope]} for scope in rules()}

    assert {"block_io_in_flight", "memory_direct_reclaim_processes"} == levels
    assert names[INSTANCE] - levels == names[SERVICE]


def test_names_are_unique_and_fit_into_every_storage():
    """Also where a prefix is the beginning of another."""
    names = [f"{scope.prefix}_{rule.name}" for scope in rules() for rule in rules()[scope]]

    assert len(names) == len(set(names))
    assert LONGEST >= max(map(len, names))


def test_every_metric_of_a_query_is_made_by_a_rule():
    """With the labels by which it selects; in dashboards for 10.x and 11, and in alarms."""
    known = made_by_rules(rules())
    found = list(expressions())

    assert 100 < len(found)
    assert [] == [problem for _, each in found for problem in expression_problems(each, known)]
    assert all(list(reads(each)) for _, each in found if each)


def test_a_query_with_a_wrong_name_or_label_is_found():
    """What the test above relies on."""
    known = made_by_rules(rules())
    wrong = f"{INSTANCE.prefix}_cache_mises/{INSTANCE.prefix}_block_io_latency{{p='99',op='read'}}"

    assert ["cache_misses", '"op"'] == [
        next(word for word in ("cache_misses", '"op"') if word in problem)
        for problem in expression_problems(wrong, known)
    ]


def test_pages_of_containers_and_of_clusters_show_their_own_metrics():
    """An expression over metrics of another entity has no values; lists of the busiest containers are the exception."""
    wrong = [
        each
        for scope, expression in expressions()
        if not expression.startswith("top_n(")
        for each in reads(expression)
        if each.metric.startswith(INSTANCE.prefix) != (scope == INSTANCE)
    ]

    assert [] == wrong


def test_every_metric_is_on_a_dashboard():
    """By itself, or in a ratio."""
    shown = {each.metric for _, expression in expressions() for each in reads(expression)}

    assert [] == sorted(set(made_by_rules(rules())) - shown)


def test_a_template_is_one_dashboard_that_no_other_is_called():
    """10.x refuses to start otherwise; that of the cluster leads to those of its containers."""
    both = [template(scope) for scope in NAMES]
    [leads_to] = [child["graph"]["dashboardName"] for child in both[0]["configuration"]["children"]
                  if child["graph"]["type"] == "InstanceList"]  # fmt: skip

    assert [("Service", "BANYANDB"), ("ServiceInstance", "BANYANDB")] == [
        (each["configuration"]["entity"], each["configuration"]["layer"]) for each in both
    ]
    assert 2 == len({each["id"] for each in both})
    assert [each["id"] for each in both] == [each["configuration"]["name"] for each in both]
    assert both[1]["configuration"]["name"] == leads_to


@pytest.mark.parametrize("scope", NAMES, ids=lambda scope: scope.prefix)
def test_widgets_do_not_cover_each_other(scope):
    """And stay within the 24 columns of the grid."""
    children = template(scope)["configuration"]["children"]
    cells = [(x, y) for each in children for x in range(each["x"], each["x"] + each["w"])
             for y in range(each["y"], each["y"] + each["h"])]  # fmt: skip

    assert len(cells) == len(set(cells))
    assert 24 > max(x for x, _ in cells)
    assert len(children) == len({each["i"] for each in children})


def test_the_layer_is_replaced_everywhere_for_older_releases():
    """In rules and in templates."""
    texts = [path.read_text() for path in (*RULE_FILES.values(), *(FOLDER / "dashboards/10").glob("*.json"))]

    assert [1, 1, 1, 1] == [for_older(each).count("K8S_SERVICE") - each.count("K8S_SERVICE") for each in texts]


def test_alarms_have_what_oap_wants_of_them():
    """A name that ends in _rule, and a comparison at the root of the expression."""
    alarms = yaml.safe_load((FOLDER / "alarm-settings.yaml").read_text())["rules"]

    assert 4 == len(alarms)
    assert all(name.endswith("_rule") and ") >= " in alarm["expression"] for name, alarm in alarms.items())
    assert all({"period", "silence-period", "message"} <= set(alarm) for alarm in alarms.values())


def test_the_pipeline_of_the_sidecar_is_right():
    """With the variables that the page names."""
    config = load([FOLDER / "sidecar.yaml"], [], Plugins(), {"CLUSTER": "c", "POD_NAME": "p"})

    [pipeline] = config.service.pipelines.values()

    assert ["skywalking_oap"] == [str(each) for each in pipeline.exporters]


@pytest.mark.peer
@needs_jq
def test_widgets_are_added_to_the_page_of_11_once():
    """To what is there, as the body that a PUT takes; again, and ours are replaced."""
    page = {"dashboards": {"service": [{"id": "cluster_errors"}], "instance": [{"id": "kernel_old"}]}}
    before = [template_of("horizon.theme", {}), template_of("horizon.layer.BANYANDB", page)]
    once = add_widgets(before)
    twice = add_widgets([once])
    ours = read("dashboards/11/banyandb-widgets.json")
    dashboards = json.loads(once["configuration"])["content"]["dashboards"]

    assert "id of horizon.layer.BANYANDB" == once["id"]
    assert [{"id": "cluster_errors"}, *ours["service"]] == dashboards["service"]
    assert ours["instance"] == dashboards["instance"]
    assert once == twice


def template_of(name, content):
    """A template as OAP lists it."""
    envelope = {"name": name, "kind": "layer", "version": 1, "content": content}
    return {"id": f"id of {name}", "configuration": json.dumps(envelope)}


def add_widgets(templates):
    """What the program for jq makes of a list of templates."""
    folder = FOLDER / "dashboards/11"
    command = ["jq", "-f", folder / "add-widgets.jq", "--slurpfile", "widgets", folder / "banyandb-widgets.json"]
    ended = subprocess.run(command, input=json.dumps(templates).encode(), stdout=subprocess.PIPE, check=True)
    return json.loads(ended.stdout)
