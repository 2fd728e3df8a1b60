# SPDX-License-Identifier: Apache-2.0
"""The rules as files of OAP's folder otel-rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ebpf_sidecar.exporters.skywalking.identity import JOB

from .rules import INSTANCE, SERVICE, Rule, Scope
from .versions import LAYER, OLDER_LAYER

LICENCE = "# SPDX-License-Identifier: Apache-2.0"
GENERATED = "# Made by `make docs` from the metrics of the probes; README.md says how to install it."
_ABOUT = {
    INSTANCE: ("For each container (a service instance, container@pod): what the kernel counted in a minute.",),
    SERVICE: (
        "For each cluster (a service): what the kernel counted in all its containers in a minute.",
        "Levels are left out: OAP would average them over the containers.",
    ),
}
_NOTES = (
    f"10.1 and 10.2 have no layer {LAYER}: replace it by {OLDER_LAYER}.",
    "No increase() or rate(): what arrives are deltas, whose sum is exact. No division: ratios are made in queries.",
)
FILES = {"kernel-instance.yaml": INSTANCE, "kernel-service.yaml": SERVICE}


def rules_text(made: Iterable[Rule], scope: Scope) -> str:
    """The file for a scope."""
    return "\n".join([*_header(scope), *_body(made)]) + "\n"


def _header(scope: Scope) -> Sequence[str]:
    notes = [f"# {line}" for line in (*_ABOUT[scope], *_NOTES)]
    return [
        LICENCE,
        GENERATED,
        *notes,
        "",
        f"filter: \"{{ tags -> tags.job_name == '{JOB}' }}\"",
        f"expSuffix: {scope.suffix}",
        f"metricPrefix: {scope.prefix}",
        "metricsRules:",
    ]


def _body(made: Iterable[Rule]) -> Iterator[str]:
    maker = ""
    for rule in made:
        if rule.of.made_by != maker:
            maker = rule.of.made_by
            yield f"  # {maker}"
        yield f"  - name: {rule.name}"
        yield f"    exp: {rule.exp}"
