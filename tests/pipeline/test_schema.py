# SPDX-License-Identifier: Apache-2.0
"""The JSON Schema says the same as the checks, as far as a schema can."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ebpf_sidecar.pipeline.schema import schema
from ebpf_sidecar.pipeline.yamltree import parse

WRONG = Path(__file__).parent.parent / "data" / "configs" / "wrong"
RIGHT = """
receivers:
  ebpf: {collection_interval: 1s, probes: {page_cache: {buffer: 3}}, filter: {names: [x]}, buffer: "${env:BUFFER}"}
  ebpf/two:
exporters:
  prometheus: {endpoint: x:1, sending_queue: {queue_size: 3}}
extensions: {health_check: {}}
service:
  extensions: [health_check]
  telemetry: {logs: {level: debug}}
  pipelines: {metrics/a: {receivers: [ebpf], exporters: "${env:EXPORTERS}"}}
"""


def accepts(whole, part, value):
    """A small judge of the keywords that our schemas are made of; an unknown keyword is an error of the test."""
    if "$ref" in part:
        return accepts(whole, whole["$defs"][part["$ref"].removeprefix("#/$defs/")], value)
    return all(KEYWORDS[keyword](whole, part, value) for keyword in part)


def _type(_, part, value):
    names = part["type"] if isinstance(part["type"], list) else [part["type"]]
    types = {"object": dict, "array": (list, tuple), "string": str, "null": type(None), "boolean": bool}
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    known = types | {"integer": int if number else (), "number": (int, float) if number else ()}
    return any(isinstance(value, known[name]) for name in names)


def _object(whole, part, value):
    if not isinstance(value, dict):
        return True
    named, patterns = part.get("properties", {}), part.get("patternProperties", {})
    for key, inner in value.items():
        schemas = [named[key]] if key in named else [each for p, each in patterns.items() if re.search(p, key)]
        if not schemas and isinstance(part.get("additionalProperties"), dict):
            schemas = [part["additionalProperties"]]
        if not all(accepts(whole, each, inner) for each in schemas):
            return False
        if not schemas and part.get("additionalProperties") is False:
            return False
    return True


def _number(compare):
    return lambda keyword: lambda _, part, value: not isinstance(value, (int, float)) or compare(value, part[keyword])


def _always(*_):
    return True


KEYWORDS = {
    **dict.fromkeys(["$schema", "$defs", "title", "description", "default", "format", "examples"], _always),
    **dict.fromkeys(["properties", "patternProperties", "additionalProperties"], _object),
    "type": _type,
    "anyOf": lambda whole, part, value: any(accepts(whole, each, value) for each in part["anyOf"]),
    "enum": lambda _, part, value: value in part["enum"],
    "pattern": lambda _, part, value: not isinstance(value, str) or re.search(part["pattern"], value) is not None,
    "required": lambda _, part, value: not isinstance(value, dict) or set(part["required"]) <= set(value),
    "items": lambda whole, part, value: (
        not isinstance(value, list) or all(accepts(whole, part["items"], item) for item in value)
    ),
    "minProperties": lambda _, part, value: not isinstance(value, dict) or len(value) >= part["minProperties"],
    "minItems": lambda _, part, value: not isinstance(value, list) or len(value) >= part["minItems"],
    "minLength": lambda _, part, value: not isinstance(value, str) or len(value) >= part["minLength"],
    "writeOnly": _always,
    "minimum": _number(lambda a, b: a >= b)("minimum"),
    "maximum": _number(lambda a, b: a <= b)("maximum"),
    "exclusiveMinimum": _number(lambda a, b: a > b)("exclusiveMinimum"),
    "exclusiveMaximum": _number(lambda a, b: a < b)("exclusiveMaximum"),
}


def test_a_right_configuration_is_accepted(plugins):
    """Null bodies, references instead of any value, several ids of a type, the exporters' queue."""
    whole = schema(plugins)

    assert accepts(whole, whole, parse(RIGHT, "right").value)


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
        "sending_queue",
        "sending_queue_of_a_receiver",
        "body_that_is_no_mapping",
        "no_service",
        "no_pipelines",
        "pipelines_of_other_signals",
        "pipeline_with_unknown_keys",
        "lists_that_are_text",
        "telemetry",
    ],
)
def test_an_editor_sees_what_the_check_would_find(plugins, name):
    """What needs no knowledge of the environment or of other lines is visible while writing."""
    whole = schema(plugins)

    assert not accepts(whole, whole, parse((WRONG / f"{name}.yaml").read_text(), name).value)


def test_every_setting_is_described(plugins):
    """The docstring below a setting becomes the editor's help."""
    whole = schema(plugins)
    settings = whole["$defs"]["QueueSettings"]["properties"]

    assert "How many batches" in str(settings["queue_size"])
    assert "at least one" in str(whole["$defs"]["PipelineBody"]["properties"]["receivers"])


def test_every_reference_inside_the_schema_leads_somewhere(plugins):
    """No dangling ``$ref``."""
    whole = schema(plugins)
    targets = set(re.findall(r"'\$ref': '#/\$defs/([^']+)'", str(whole)))

    assert targets
    assert targets <= set(whole["$defs"])
