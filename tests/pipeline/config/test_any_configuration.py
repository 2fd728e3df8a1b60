# SPDX-License-Identifier: Apache-2.0
"""Whatever a file contains, it is loaded or refused with mistakes; nothing else ever happens."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebpf_sidecar.exporters.prometheus import PrometheusSettings
from ebpf_sidecar.pipeline.config.load import InlineSource, load, resolved
from ebpf_sidecar.pipeline.config.redaction import redacted_tree
from ebpf_sidecar.pipeline.config.yaml_scalars import dump
from ebpf_sidecar.pipeline.errors import ConfigError
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.receivers.ebpf.settings import EbpfSettings

SECTIONS = [
    "receivers",
    "processors",
    "exporters",
    "extensions",
    "service",
    "pipelines",
    "metrics",
    "telemetry",
    "logs",
]
TYPES = ["ebpf", "ebpf/", "ebpf/2", "metrics/2", "rate", "broken", "prometheus", "otlp", "health_check", "x"]
SETTINGS = ["sending_queue", "queue_size", "filter", "names", "probes", "endpoint", "buffer", "mode", "labels", "level"]
KEYS = st.sampled_from([*SECTIONS, *TYPES, *SETTINGS])
ODDITIES = [
    "1s",
    "$$",
    "${env:X}",
    *(f"${{env:Y:-{value}}}" for value in ("{a: 1}", "[ebpf]", "5", "true", "1.5", "null", "")),
    *("${env:C0}", "a${env:C0}", "${env:LIST0}", "${env:BYTES}", "${file:/dev/zero}", "${env:HEX}"),
    "${env:Y:-" * 400 + "}" * 400,
    *(digit * 5000 for digit in ("9", "1s", "${", "{", "[")),
]
"""Text that once ended in a traceback, never ended, or was silently left out."""
ENVIRON = {
    "X": "1",
    "BYTES": "\udcff",
    "HEX": "0x" + "f" * 5000,
    **{f"C{n}": f"${{env:C{n + 1}}}" for n in range(600)},
    **{f"LIST{n}": "[" * 9 + f"'${{env:LIST{n + 1}}}'" + "]" * 9 for n in range(40)},
}
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | KEYS | st.sampled_from(ODDITIES)
)
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=30
)
IDS = st.lists(KEYS | LEAVES, max_size=3)
PIPELINES = st.dictionaries(
    KEYS, st.fixed_dictionaries({}, optional={"receivers": IDS, "processors": IDS, "exporters": IDS})
)
BODY = st.dictionaries(KEYS, TREES, max_size=4) | st.none()
SERVICE = st.fixed_dictionaries({"pipelines": PIPELINES}, optional={"telemetry": TREES, "extensions": IDS})
CONFIGURATIONS = st.fixed_dictionaries(
    {},
    optional={
        "receivers": st.dictionaries(st.sampled_from(["ebpf", "ebpf/2"]), BODY) | TREES,
        "exporters": st.dictionaries(st.sampled_from(["prometheus", "otlp"]), BODY) | TREES,
        "processors": TREES,
        "extensions": TREES,
        "service": st.fixed_dictionaries({"pipelines": PIPELINES}, optional={"telemetry": TREES, "extensions": IDS})
        | TREES,
        "x": TREES,
    },
)
PIECES = st.sampled_from(
    [*"[]{},:&*!<'\"#|>-\n ", "<<: ", "&a ", "*a", "a: ", "- ", r'"\uD800"', r'"\uDE00"', "0x" + "f" * 5000, "9" * 5000]
)
"""Of what YAML is made: deeper, longer and more entangled than anybody writes."""
BITS = st.lists(PIECES | st.sampled_from(["[" * 300, "{a: " * 300, "receivers: ", "probes: "])).map("".join)
KERNEL_PROBES = st.recursive(
    LEAVES | st.sampled_from(["page_cache", "block_io", "syscalls"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["page_cache", "syscalls", "x"]), inner)
    ),
    max_leaves=6,
)
ARGUMENTS = st.text(max_size=20) | st.builds(
    "{}={}".format, st.sampled_from(["receivers.ebpf.buffer", "a." * 400 + "a", "a::b", "\udcff"]), BITS | LEAVES
)
same_plugins = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # which no example changes


@pytest.mark.parametrize("text", ODDITIES, ids=lambda text: text[:20])
def test_every_oddity_is_a_mistake_wherever_it_is(plugins, text):
    """Those that random trees may miss, in each kind of place."""
    ids = {"receivers": [text], "exporters": [text, "x"]}
    tree = {
        "receivers": {"ebpf": {"probes": [text], "labels": {"a": [text]}, "buffer": text}, "ebpf/2": text},
        "exporters": {"otlp": {"endpoint": f"a {text}", "sending_queue": text}},
        "service": {"pipelines": {"metrics": ids, "metrics/2": text}, "extensions": text},
    }
    with pytest.raises(ConfigError) as refused:
        load([InlineSource(dump(tree).encode(), "f")], [], plugins, ENVIRON)

    assert [] == [str(mistake) for mistake in refused.value.mistakes if "; " not in str(mistake)]


@same_plugins
@given(CONFIGURATIONS)
def test_every_tree_loads_or_is_refused_with_mistakes(plugins, tree):
    """With the test's components; each mistake says what to do."""
    mistakes = ()
    try:
        load([InlineSource(dump(tree).encode(), "f")], [], plugins, ENVIRON)
    except ConfigError as error:
        mistakes = error.mistakes or ("refused without a reason",)

    assert [] == [str(mistake) for mistake in mistakes if "; " not in str(mistake)]


@same_plugins
@given(st.binary(max_size=200) | BITS.map(str.encode), st.lists(ARGUMENTS, max_size=2))
def test_any_bytes_and_overrides_load_or_are_refused(plugins, content, overrides):
    """Not only YAML; and each message can be written."""
    mistakes = ()
    try:
        load([InlineSource(content, "f")], overrides, plugins, ENVIRON)
    except ConfigError as error:
        mistakes = error.mistakes or ("refused without a reason",)

    assert [] == [str(mistake) for mistake in mistakes if "; " not in str(mistake)]
    assert [] == [str(mistake) for mistake in mistakes if not str(mistake).encode()]


INSTALLED = Plugins()


@settings(max_examples=20)  # each reads the probes' files
@given(
    st.dictionaries(st.sampled_from(sorted(EbpfSettings.model_fields)), KERNEL_PROBES | BODY, max_size=3),
    st.dictionaries(st.sampled_from(sorted(PrometheusSettings.model_fields)), TREES, max_size=3),
)
def test_any_settings_of_the_real_components_are_judged(receiver, exporter):
    """Of those with the most checks of their own."""
    tree = {"receivers": {"ebpf": receiver}, "exporters": {"prometheus": exporter}}
    with pytest.raises(ConfigError) as refused:  # at least for want of a service
        load([InlineSource(dump(tree).encode(), "f")], [], INSTALLED, ENVIRON)

    assert [] == [str(mistake) for mistake in refused.value.mistakes if "; " not in str(mistake)]
    assert [] == [str(mistake) for mistake in refused.value.mistakes if "cannot be checked" in str(mistake)]


@given(CONFIGURATIONS)
def test_every_resolved_tree_can_be_masked_and_printed(tree):
    """As ``print-config`` does."""
    try:
        found = resolved([InlineSource(dump(tree).encode(), "f")], [], ENVIRON)
    except ConfigError:
        found = {}  # what is wrong in it is another test's matter

    assert set(found) == set(redacted_tree(found))
    assert dump(redacted_tree(found)).encode()
