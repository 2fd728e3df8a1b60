# SPDX-License-Identifier: Apache-2.0
"""The JSON Schema for authors of probes agrees with the validation, as far as a schema can."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from ebpf_sidecar.pipeline.config.yaml_document import parse
from ebpf_sidecar.receivers.ebpf.probe.command import probe_schema
from ebpf_sidecar.receivers.ebpf.probe.file import find_probes
from ebpf_sidecar.receivers.ebpf.probe.shapes import schema

ROOT = Path(__file__).parents[4]
PROBES = ROOT / "tests" / "data" / "probes"
FOLDERS = [ROOT / "bpf", ROOT / "tests" / "plugin_example" / "sidecar_forks", *ROOT.glob("tests/*/probes")]
RIGHT = [*find_probes(FOLDERS).values(), PROBES / "right.yaml"]
BEYOND_A_SCHEMA = {
    "default_of_another_type",
    "default_that_is_not_among_the_words",
    "exponents_below_the_lowest",
    "exponents_that_descend",
    "exponents_written_twice",
    "exponents_that_64_bits_do_not_have",
    "canary_with_an_action_and_a_metric",
    "canary_without_a_reason",
    "canary_shown_by_a_metric_without_the_hook",
    "canary_shown_by_an_unknown_attribute",
    "canary_shown_by_an_unknown_metric",
    "names_used_twice",
    "reference_to_an_unknown_hook",
    "reference_to_an_unknown_map",
    "reference_to_an_unknown_setting",
    "setting_whose_name_is_a_number",  # in JSON all names are text
}
"""Mistakes that mostly only a look at another part of the file shows."""
NO_DOCUMENT = {
    "control_character", "decode_key_that_is_half_a_number", "key_written_twice", "nested_without_end", "not_utf_8",
    "not_yaml",
}  # fmt: skip
JUDGED = [file for file in sorted((PROBES / "wrong").glob("*.yaml")) if file.stem not in NO_DOCUMENT]


@pytest.fixture(scope="module")
def judge():
    """Validates documents against the schema."""
    return Draft202012Validator(schema())


def document(file):
    """As an editor sees it: all keys are text."""
    return json.loads(json.dumps(parse(file.read_text(), file.name, number_keys=True).value))


def test_the_schema_is_one():
    """By its own standard."""
    Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("file", RIGHT, ids=lambda file: file.stem)
def test_every_probe_follows_the_schema(judge, file):
    """Ours, those of the tests, and a third party's."""
    assert [] == [error.message for error in judge.iter_errors(document(file))]


@pytest.mark.parametrize("file", JUDGED, ids=lambda file: file.stem)
def test_what_is_wrong_is_wrong_in_an_editor_as_well(judge, file):
    """Unless another part of the file says so."""
    assert judge.is_valid(document(file)) == (file.stem in BEYOND_A_SCHEMA)


def test_every_key_is_described(judge):
    """The editor shows it."""
    parts = [judge.schema, *judge.schema["$defs"].values()]

    assert [] == [name for part in parts for name, key in part["properties"].items() if not key.get("description")]


def test_the_command_prints_the_schema():
    """As JSON."""
    assert schema() == json.loads(CliRunner().invoke(probe_schema, catch_exceptions=False).output)


def test_the_commands_help_is_light():
    """It needs neither NumPy nor pydantic."""
    code = (
        "import sys; from ebpf_sidecar.pipeline.cli.commands import exit_code; exit_code(['probe-schema', '--help']);"
        "print({'numpy', 'pydantic', 'opentelemetry', 'yaml', 'grpc'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "ebpf-sidecar probe-schema > probe.schema.json" in done.stdout
    assert "set()" == done.stdout.splitlines()[-1]
