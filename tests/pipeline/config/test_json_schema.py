# SPDX-License-Identifier: Apache-2.0
"""The JSON Schema agrees with the validation, as far as a schema can."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from ebpf_sidecar.pipeline.config.json_schema import schema
from ebpf_sidecar.pipeline.config.yaml_document import parse
from ebpf_sidecar.pipeline.plugins import Plugins

TESTS = Path(__file__).parents[2]
WRONG = TESTS / "data" / "configs" / "wrong"
CONFIGS = sorted((TESTS.parent / "configs").glob("*.yaml"))
RIGHT = """
x-mine: [anything]
receivers:
  ebpf: {collection_interval: 1s, probes: {page_cache: {buffer: 3}}, filter: {names: [x]}, buffer: "${env:BUFFER}"}
  ebpf/two:
exporters:
  prometheus: {endpoint: x:1}
extensions: {health_check: {}}
service:
  extensions: [health_check]
  telemetry: {logs: {level: debug}}
  pipelines: {metrics/a: {receivers: [ebpf], exporters: "${env:EXPORTERS}"}}
"""


@pytest.fixture
def judge(plugins):
    """Validates configurations against the schema of the test's plugins."""
    return Draft202012Validator(schema(plugins))


def test_the_schema_is_valid():
    """It follows the dialect that it names, for everything that is really installed."""
    Draft202012Validator.check_schema(schema(Plugins()))


def test_the_ready_configurations_are_accepted():
    """By the schema of the components that are really installed."""
    judge = Draft202012Validator(schema(Plugins()))
    trees = {file.name: parse(file.read_text(encoding="utf-8"), file.name).value for file in CONFIGS}

    assert trees
    assert [] == [(name, error.message) for name, tree in trees.items() for error in judge.iter_errors(tree)]


def test_a_right_configuration_is_accepted(judge):
    """Null bodies, references instead of any value, several ids of a type, the exporters' queue."""
    assert [] == list(judge.iter_errors(parse(RIGHT, "right").value))


@pytest.mark.parametrize(
    "name",
    [
        "unknown_section",
        "unknown_component_types",
        "unknown_settings",
        "wrong_types",
        "out_of_range",
        "not_a_choice",
        "missing_setting",
        "sending_queue_of_what_sends_nothing",
        "body_that_is_no_mapping",
        "no_service",
        "no_pipelines",
        "pipelines_of_other_signals",
        "pipeline_with_unknown_keys",
        "lists_that_are_text",
        "telemetry",
    ],
)
def test_an_editor_sees_what_the_check_would_find(judge, name):
    """What needs no knowledge of the environment or of other lines is visible while writing."""
    assert not judge.is_valid(parse((WRONG / f"{name}.yaml").read_text(), name).value)


def test_every_setting_is_described():
    """The docstring below a setting, or its class's, becomes the editor's help."""
    classes = schema(Plugins())["$defs"]
    shapes = {(name, key): each for name, one in classes.items() for key, each in one.get("properties", {}).items()}

    assert "at least one" in str(shapes["PipelineBody", "receivers"])
    assert [] == [place for place, shape in shapes.items() if not described(shape, classes)]


def described(shape, classes):
    """Whether a setting, or one of the forms that it may have, has a description."""
    referred = classes.get(shape.get("$ref", "").rpartition("/")[2], {})
    return "description" in {**shape, **referred} or any(described(each, classes) for each in shape.get("anyOf", ()))


def test_every_reference_inside_the_schema_leads_somewhere(plugins):
    """No dangling ``$ref``."""
    whole = schema(plugins)
    targets = set(re.findall(r"'\$ref': '#/\$defs/([^']+)'", str(whole)))

    assert targets
    assert targets <= set(whole["$defs"])
