# SPDX-License-Identifier: Apache-2.0
"""What a rule's values belong to: the labels that name it, and its layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ebpf_sidecar.pipeline.suggestions import did_you_mean

from .mal import Token
from .mal_tree import Call, Closure, Dotted, Listing, Name, Text, calls, every, parse

ENTITIES = (
    "service", "instance", "endpoint", "process", "serviceRelation", "serviceInstanceRelation", "endpointRelation",
    "processRelation", "serviceEndpoint",
)  # fmt: skip


@dataclass(frozen=True)
class Entity:
    """``labels``: what entity functions read. ``made``: what `tag` closures write. ``layers``: those that are named.

    ``read``: what `tag` closures read.
    """

    functions: tuple[str, ...] = ()
    labels: frozenset[str] = frozenset()
    made: frozenset[str] = frozenset()
    read: frozenset[str] = frozenset()
    layers: tuple[str, ...] = ()

    def __add__(self, other: Entity) -> Entity:
        return Entity(
            self.functions + other.functions,
            self.labels | other.labels,
            self.made | other.made,
            self.read | other.read,
            self.layers + other.layers,
        )


def entity_of(*texts: str) -> Entity:
    """What expressions say about it. Raises `MalError`."""
    found = [call for text in texts if text for call in calls(parse(text))]
    entities = [call for call in found if call.name in ENTITIES]
    tags = [closure for call in found if call.name == "tag" for closure in _closures(call)]
    return Entity(
        tuple(call.name for call in entities),
        frozenset(label for call in entities for label in _labels(call)),
        frozenset(label for closure in tags for label in _used(closure, written=True)),
        frozenset(label for closure in tags for label in _used(closure, written=False)),
        tuple(each.name for call in entities for each in every(call) if _is_layer(each) and isinstance(each, Dotted)),
    )


def entity_problems(entity: Entity, known: frozenset[str], version: str) -> Iterator[tuple[str, str]]:
    """Layers that the release does not have: up to 10.3 it does not start, later it hides the services."""
    for layer in entity.layers:
        if layer not in known:
            advice = did_you_mean(layer, known)[2:] or "use one that it has"
            yield f'the layer "{layer}" is not known in {version}', advice


def _is_layer(node: object) -> bool:
    return isinstance(node, Dotted) and node.target == Name("Layer")


def _labels(call: Call) -> Iterator[str]:
    """Those in its lists, and those that its closure (the properties of an instance) reads."""
    for argument in call.arguments:
        if isinstance(argument, Listing):
            yield from (item.text for item in argument.items if isinstance(item, Text))
    for closure in _closures(call):
        yield from _used(closure, written=False)


def _closures(call: Call) -> Iterator[Closure]:
    return (argument for argument in call.arguments if isinstance(argument, Closure))


def _used(closure: Closure, *, written: bool) -> Iterator[str]:
    """The labels that ``tags.x`` names in it: those that are assigned, or the others."""
    words = closure.tokens
    tags = words[0].text if words else ""
    for place in range(2, len(words) - 2):
        parent, dot, label = words[place : place + 3]
        if parent == Token("name", tags) and dot == Token("sign", ".") and label.kind == "name":
            assigned = words[place + 3 : place + 4] == (Token("sign", "="),)
            if assigned == written:
                yield label.text
