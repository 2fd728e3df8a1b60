# SPDX-License-Identifier: Apache-2.0
"""The check of one expression: names, aggregation, labels, and what OAP's releases count wrong or cannot read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ebpf_sidecar.pipeline.suggestions import did_you_mean

from .check_entity import ENTITIES, Entity
from .mal_tree import Arithmetic, Call, Dotted, Listing, Name, Negative, Node, Number, Text, calls, every
from .sent import Sent

_AGGREGATIONS = ("sum", "avg", "min", "max", "count")
_DELTA = "counters arrive as deltas: use sum([…]).downsampling(SUM)"
_FORBIDDEN = {
    "increase": _DELTA,
    "rate": _DELTA,
    "irate": _DELTA,
    "safeDiv": "10.x does not know it: divide in the query",
    "filter": "11 does not read it in an expression: use tagEqual or tagMatch",
}
_DOWNSAMPLINGS = ("SUM", "SUM_PER_MIN", "AVG")
_ADDING = _DOWNSAMPLINGS[:2]
_ALLOWED = (
    *_AGGREGATIONS, *ENTITIES, "tagEqual", "tagNotEqual", "tagMatch", "tagNotMatch", "valueEqual", "valueNotEqual",
    "valueGreater", "valueGreaterEqual", "valueLess", "valueLessEqual", "tag", "forEach", "histogram",
    "histogram_percentile", "downsampling", "time", "retagByK8sMeta", "decorate",
)  # fmt: skip
Found = Iterator[tuple[str, str]]


@dataclass(frozen=True)
class Use:
    """A metric in an expression, and what is called on it, in this order."""

    name: str
    calls: tuple[Call, ...]

    def called(self, *names: str) -> list[Call]:
        """The calls of these names."""
        return [call for call in self.calls if call.name in names]


def expression_problems(tree: Node, entity: Entity, metrics: Mapping[str, Sent]) -> Found:
    """What is wrong, and what to do."""
    if not entity.functions:
        yield "values belong to nothing", "end expSuffix with an entity function, such as service([…], Layer.X)"
    yield from _constructs(tree)
    for call in calls(tree):
        yield from _call_problems(call)
    for use in _uses(tree, ()):
        yield from _use_problems(use, entity, metrics)


def _uses(node: Node, outer: tuple[Call, ...]) -> Iterator[Use]:
    match node:
        case Name(text):
            yield Use(text, outer)
        case Call(target, _, _) if target is not None:
            yield from _uses(target, (node, *outer))
        case Arithmetic(_, left, right):
            yield from _uses(left, outer)
            yield from _uses(right, outer)
        case Negative(value):
            yield from _uses(value, outer)


def _constructs(tree: Node) -> Found:
    for node in every(tree):
        match node:
            case Arithmetic("/", _, _):
                yield "a division: x/0 is stored as 9223372036854775807", "divide in the query, or multiply (* 0.001)"
            case Number(text) if "e" in text.lower():
                yield f'"{text}" is not read by 11', "write the digits"
            case Dotted(target, name) if target != Name("Layer"):
                yield f'".{name}" is no call', "write names of metrics with _, and no TimeUnit, which 10.x lacks"


def _call_problems(call: Call) -> Found:
    name, arguments = call.name, call.arguments
    if name in _FORBIDDEN:
        yield f'"{name}" counts wrong or is not read', _FORBIDDEN[name]
    elif name not in _ALLOWED:
        yield f'"{name}" is no function', did_you_mean(name, _ALLOWED)[2:] or "see the page for those that are"
    if any(isinstance(each, Negative) for each in arguments):
        yield f'"{name}" has a negative number, which 11 does not read', "compare the other way round"
    if name == "downsampling":
        yield from _downsampling_problems(arguments)
    if name == "histogram" and arguments:
        yield "histogram(…) with arguments is not read by all releases", "write histogram()"
    if name == "histogram_percentile":
        yield from _percentile_problems(arguments)
    if name in _AGGREGATIONS and not (len(arguments) == 1 and isinstance(arguments[0], Listing)):
        yield f'"{name}" has no list of labels', f"write {name}(['label'])"


def _downsampling_problems(arguments: tuple[Node, ...]) -> Found:
    names = [each.text for each in arguments if isinstance(each, Name)]
    if len(names) != 1 or names[0] not in _DOWNSAMPLINGS:
        wrong = ", ".join(names) or "nothing"
        yield f'"downsampling({wrong})" keeps a wrong value or is not known', f"use {', '.join(_DOWNSAMPLINGS)}"


def _percentile_problems(arguments: tuple[Node, ...]) -> Found:
    items = arguments[0].items if len(arguments) == 1 and isinstance(arguments[0], Listing) else ()
    if not items or not all(isinstance(each, Number) and each.text.isdigit() for each in items):
        yield "histogram_percentile wants whole numbers, in 10.x", "write histogram_percentile([50,90,99])"


def _use_problems(use: Use, entity: Entity, metrics: Mapping[str, Sent]) -> Found:
    metric = metrics.get(use.name)
    if metric is None:
        advice = did_you_mean(use.name, metrics)[2:] or "see the exporter's metrics"
        yield f'no metric "{use.name}" is sent', advice
        return
    aggregations = use.called(*_AGGREGATIONS)
    if not aggregations:
        yield f'"{use.name}" is not aggregated: OAP would keep one of its points', "add sum([…])"
    for call in aggregations:
        yield from _label_problems(call, metric, entity)
    yield from _histogram_problems(use, metric)
    if metric.counts and not _is_added(use):
        yield f'"{use.name}" counts, and is averaged over the minute', "add downsampling(SUM)"
    for call in use.called("tagEqual", "tagNotEqual", "tagMatch", "tagNotMatch"):
        yield from _unknown_labels(
            [each.text for each in call.arguments[::2] if isinstance(each, Text)], metric, entity
        )


def _label_problems(call: Call, metric: Sent, entity: Entity) -> Found:
    listed = call.arguments[0] if call.arguments else None
    labels = [each.text for each in listed.items if isinstance(each, Text)] if isinstance(listed, Listing) else []
    yield from _unknown_labels(labels, metric, entity)
    for label in sorted(entity.labels - entity.made - set(labels)):
        yield (
            f'"{call.name}" loses the label "{label}", which names the entity: its values go to one without a name',
            f"add '{label}' to {call.name}([…])",
        )


def _unknown_labels(labels: list[str], metric: Sent, entity: Entity) -> Found:
    known = metric.labels | entity.made
    for label in labels:
        if "." in label:
            yield f'the label "{label}" has dots, which rules cannot name', f'write "{label.replace(".", "_")}"'
        elif label not in known:
            yield f'"{metric.name}" has no label "{label}"', did_you_mean(label, known)[2:] or "remove it"


def _histogram_problems(use: Use, metric: Sent) -> Found:
    is_read = bool(use.called("histogram")) and bool(use.called("histogram_percentile"))
    if metric.is_buckets and not is_read:
        yield f'"{use.name}" are buckets', f"add histogram().histogram_percentile([…]), or use {use.name}_count"
    if not metric.is_buckets and use.called("histogram", "histogram_percentile"):
        yield f'"{use.name}" has no buckets', "use a histogram"
    if metric.is_buckets and not all(_has_bound(call) for call in use.called(*_AGGREGATIONS)):
        yield f'"{use.name}" loses its bounds', "add 'le' to the labels"


def _has_bound(call: Call) -> bool:
    return any(each == Text("le") for each in every(call))


def _is_added(use: Use) -> bool:
    return any(isinstance(each, Name) and each.text in _ADDING for call in use.called("downsampling")
               for each in call.arguments)  # fmt: skip
