# SPDX-License-Identifier: Apache-2.0
"""The ledger as ``/api/v1/stats`` shows it: what became of all data points, and what never became one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ebpf_sidecar.pipeline.balance import Balance

from .ledger import DROPPED, INCOMING, LOST, OUTGOING, RECEIVED, REFUSED, Attributes, Ledger

Reasons = dict[str, dict[str, int]]


def ledger_section(ledger: Ledger, pipelines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The ledger in JSON's types. ``pipelines``: the id of each, and the ids of its components."""
    balances = {_without_kind(exporter)["id"]: balance for exporter, balance in ledger.balances().items()}
    return {
        "closes": not any(balance.difference for balance in balances.values()),
        "receivers": list(_receivers(ledger)),
        "processors": list(_processors(ledger)),
        "exporters": [_exporter(name, balance, pipelines) for name, balance in balances.items()],
        "lost_in_the_kernel": _by_reason({key: int(value) for key, value in ledger.read(LOST).items()}, "receiver"),
    }


def _receivers(ledger: Ledger) -> Iterator[dict[str, Any]]:
    accepted, refused = ledger.counts_of(RECEIVED, REFUSED)
    for attributes in accepted:
        yield {**_without_kind(attributes), "accepted": accepted[attributes], "refused": refused.get(attributes, 0)}


def _processors(ledger: Ledger) -> Iterator[dict[str, Any]]:
    """Made and removed: the net result; what was dropped because a processor failed is part of what was removed."""
    incoming, outgoing, dropped = ledger.counts_of(INCOMING, OUTGOING, DROPPED)
    reasons = _by_reason(dropped, "processor")
    for attributes, taken in incoming.items():
        passed = outgoing[attributes]
        id_ = _without_kind(attributes)
        yield {
            **id_,
            "incoming": taken,
            "outgoing": passed,
            "made": max(0, passed - taken),
            "removed": max(0, taken - passed),
            "dropped": reasons.get(id_["id"], {}),
        }


def _exporter(name: str, balance: Balance, pipelines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    fed_by = [pipeline["id"] for pipeline in pipelines if name in pipeline.get("exporters", ())]
    return {"id": name, "pipelines": fed_by, **asdict(balance), "difference": balance.difference}


def _without_kind(attributes: Attributes) -> dict[str, str]:
    """The attributes of a counter, the component as ``id``."""
    (_, name), *others = attributes
    return {"id": name, **dict(others)}


def _by_reason(counts: Mapping[Attributes, int], kind: str) -> Reasons:
    """Counts by component of that kind and reason."""
    found: Reasons = defaultdict(dict)
    for attributes, count in counts.items():
        its = dict(attributes)
        of, _, name = its["component"].partition(" ")
        if of == kind:
            found[name][its["reason"]] = count
    return dict(found)
