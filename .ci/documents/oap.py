# SPDX-License-Identifier: Apache-2.0
"""What SkyWalking's OAP makes of our metrics."""

from __future__ import annotations

from skywalking.files import made
from skywalking.rules import INSTANCE, SERVICE, Rule
from skywalking.versions import LAYER, VERSIONS, default_layer

from ebpf_sidecar.pipeline.telemetry.catalogue import catalogue

from .text import block, code, codes, inline, sentence, table
from .tree import plugins


@block
def oap_metrics() -> str:
    """A row for each metric of an instance; whether a service has it, too."""
    rules = made(catalogue(plugins()))
    service = {rule.name for rule in rules[SERVICE]}
    header = ("metric", "unit", "labels", "of a service", "meaning")
    return table(header, [_row(rule, has_service=rule.name in service) for rule in rules[INSTANCE]])


def _row(rule: Rule, *, has_service: bool) -> tuple[str, ...]:
    kind = f" ({rule.meaning})" if rule.meaning else ""
    text = sentence(f"{inline(rule.of.description)}{kind}")
    return code(rule.name), rule.unit, codes(rule.labels), "yes" if has_service else "no", text


@block
def oap_layers() -> str:
    """A row for each release, with the layer that rules and dashboards use there."""
    advice = {True: "nothing", False: "replace it in the files"}
    rows = ((version, code(default_layer(version)), advice[default_layer(version) == LAYER]) for version in VERSIONS)
    return table(("OAP", "layer", "what to do"), rows)
