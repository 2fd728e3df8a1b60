# SPDX-License-Identifier: Apache-2.0
"""No command shows text from a variable or file whose name suggests a secret, whatever it looks like."""

import io
import logging

import pytest

from ebpf_sidecar.pipeline.config.load import InlineSource, load, resolved
from ebpf_sidecar.pipeline.config.redaction import redacted_tree
from ebpf_sidecar.pipeline.errors import ConfigError
from ebpf_sidecar.pipeline.secrets_in_text import known_secrets
from ebpf_sidecar.pipeline.telemetry import logs

SECRET = "hunter 2/;@x"
ENVIRON = {"SECRET": SECRET, "PIN_TOKEN": "4711", "AUTH": "true", "URL": "http://bob:hunter2@db:80/x", "S": "a"}

PIPELINE = """
exporters: {debug: }
service: {pipelines: {metrics: {receivers: [ebpf], exporters: [debug]}}}
"""


def shown(value, environ=ENVIRON):
    """What print-config shows of a setting with this value."""
    secrets = set()
    with known_secrets(secrets):
        return redacted_tree(resolved([InlineSource(f"a: {value}".encode())], [], environ, secrets.add))["a"]


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        ("${env:SECRET}", "[REDACTED]"),
        ("x${env:SECRET}y", "x[REDACTED]y"),
        ("[b, '${SECRET}']", ["b", "[REDACTED]"]),
        ("${env:PIN_TOKEN}", "[REDACTED]"),
        ("${env:AUTH}", True),
        ("${env:NOT_SET_TOKEN:-default}", "[REDACTED]"),
        ("${env:URL}", "http://[REDACTED]@db:80/x"),
        ("${env:S}", "a"),
        ("${env:OUTER_SECRET}", "[REDACTED]"),
    ],
)
def test_values_from_secret_references_are_not_printed(value, seen):
    """Typed ones, parts of others, those that refer to others; whether something is set may be seen."""
    assert seen == shown(value, {**ENVIRON, "OUTER_SECRET": "in ${env:S} $$ out"})


@pytest.mark.parametrize("name", ["secrets/db", "password.txt", "run/token"])
def test_files_named_as_secrets_are_not_printed(name, tmp_path):
    """As Docker and Kubernetes mount them."""
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("tiger lily\n")
    plain = tmp_path / "name.txt"
    plain.write_text("lily\n")

    assert ["[REDACTED]", "lily"] == shown(f"['${{file:{file}}}', '${{file:{plain}}}']")


@pytest.mark.parametrize(
    "setting",
    [
        "collection_interval: ${env:SECRET}",
        "mode: '${env:SECRET}'",
        "buffer: ${env:SECRET}",
        "buffer: '${env:URL}'",
        "collection_interval: '${env:URL}'",
        "collection_interval: 'password=hunter2'",
        "owner: ${file:/nonexistent/${env:SECRET}}",
        "device: ${env:LONG_SECRET}",
    ],
)
def test_errors_do_not_quote_secrets(setting, plugins):
    """Wrong types, wrong values, paths that do not exist, and long ones of which a message shows the beginning."""
    text = f"receivers:\n  ebpf:\n    {setting}\n{PIPELINE}"
    with pytest.raises(ConfigError) as caught:
        load([InlineSource(text.encode())], [], plugins, {**ENVIRON, "LONG_SECRET": "hunter2 " * 20})

    assert "hunter" not in str(caught.value)
    assert "[REDACTED]" in str(caught.value)


def test_an_invalid_override_does_not_show_its_secret(plugins):
    """What is typed on a command line gets into logs of CI."""
    with pytest.raises(ConfigError, match=r'"\.password=\[REDACTED\]" is not a setting'):
        load([InlineSource(b"a: 1")], [".password=hunter2"], plugins, {})


@pytest.mark.parametrize("encoding", ["console", "json"])
def test_the_log_holds_no_secrets(encoding, root_logger):
    """Neither in messages nor in tracebacks."""
    stream = io.StringIO()
    logs.configure("info", encoding, stream, secrets={SECRET})
    try:
        raise ValueError(f"cannot log in with {SECRET}")
    except ValueError:
        logging.getLogger("x").exception("login at http://bob:hunter2@db failed with %s", SECRET)

    assert "hunter" not in stream.getvalue()
    assert 3 == stream.getvalue().count("[REDACTED]")


def test_the_configuration_knows_its_secrets_but_does_not_show_them(plugins):
    """For the log of the running service."""
    text = "receivers: {ebpf: {owner: '${env:SECRET}'}}\n" + PIPELINE
    config = load([InlineSource(text.encode())], [], plugins, ENVIRON)

    assert {SECRET} == config.secrets
    assert "frozenset" not in repr(config)


def test_a_secret_in_a_key_is_not_shown_either(plugins):
    """Neither printed, nor in the path of a mistake or of a warning."""
    key = "http://bob:hunter2@db/"
    with pytest.raises(ConfigError) as caught:
        load([InlineSource(f"receivers: {{ebpf: {{'{key}': 1}}}}".encode())], [], plugins, {})
    unused = f"receivers: {{ebpf: , 'ebpf/{key}': }}\n" + PIPELINE
    warnings = load([InlineSource(unused.encode())], [], plugins, {}).warnings

    assert {"http://[REDACTED]@db/": 1} == redacted_tree({key: 1})
    assert "hunter" not in str(caught.value)
    assert "hunter" not in "".join(map(str, warnings))
    assert any("[REDACTED]" in warning.path for warning in warnings)
