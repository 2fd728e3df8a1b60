# SPDX-License-Identifier: Apache-2.0
"""Whatever a file says, it is loaded or refused with mistakes; nothing else ever happens."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebpf_sidecar.pipeline.config import Inline, load, resolved
from ebpf_sidecar.pipeline.errors import ConfigError
from ebpf_sidecar.pipeline.masking import masked
from ebpf_sidecar.pipeline.yamlscalars import dump

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
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | KEYS
    | st.sampled_from(["1s", "${env:X:-{a: 1}}", "${env:X:-[ebpf]}", "${env:X:-5}", "${env:X}", "$$"])
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
same_plugins = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # which no example changes


@same_plugins
@given(CONFIGURATIONS)
def test_every_tree_loads_or_is_refused_with_mistakes(plugins, tree):
    """With the components of the test; each mistake says what to do."""
    mistakes = ()
    try:
        load([Inline(dump(tree).encode(), "f")], [], plugins, {})
    except ConfigError as error:
        mistakes = error.mistakes or ("refused without a reason",)

    assert [] == [str(mistake) for mistake in mistakes if "; " not in str(mistake)]


@same_plugins
@given(st.binary(max_size=200), st.lists(st.text(max_size=20), max_size=2))
def test_any_bytes_and_overrides_load_or_are_refused(plugins, content, overrides):
    """Not only YAML."""
    mistakes = ()
    try:
        load([Inline(content, "f")], overrides, plugins, {})
    except ConfigError as error:
        mistakes = error.mistakes or ("refused without a reason",)

    assert [] == [str(mistake) for mistake in mistakes if "; " not in str(mistake)]


@given(CONFIGURATIONS)
def test_every_resolved_tree_can_be_masked_and_printed(tree):
    """As ``print-config`` does."""
    shown = masked(resolved([Inline(dump(tree).encode(), "f")], [], {"X": "1"}))

    assert set(tree) == set(shown)
    assert dump(shown)
