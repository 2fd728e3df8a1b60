# SPDX-License-Identifier: Apache-2.0
"""Checks that a map has the fields that a metric uses: the probe's YAML claims it, only the compiler knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ebpf_sidecar.pipeline.suggestions import did_you_mean
from ebpf_sidecar.receivers.ebpf.maps.kernel_map import KernelMap
from ebpf_sidecar.receivers.ebpf.probe.model import Distinct, Metric, Slots, Spread, field_and_element


def why_not_made(metric: Metric, kernel_map: KernelMap) -> str:
    """Why ``metric`` cannot be made from its map, in one line; empty if it can."""
    keys = kernel_map.key_dtype.names or ()
    wrong = [*_wrong_values(metric, kernel_map)]
    wrong += [_no_field(each.field, "key", keys) for each in metric.attributes if each.field not in keys]
    return f'map "{kernel_map.name}": {"; ".join(wrong)}' if wrong else ""


def _wrong_values(metric: Metric, kernel_map: KernelMap) -> Iterator[str]:
    value, fields = metric.value, kernel_map.value_fields
    for name in _fields_of(metric):
        yield from _wrong_column(name, fields)
    if isinstance(value, Slots) and value.slots in fields:
        yield from _beyond(value, fields[value.slots])
    if isinstance(value, Spread) and value.field in fields:
        length = fields[value.field].stop - fields[value.field].start
        if length != len(value.values):
            yield f'"{value.field}" has {length} elements for {len(value.values)} values; name each once'


def _wrong_column(name: str, fields: Mapping[str, slice]) -> Iterator[str]:
    field, element = field_and_element(name)
    columns = fields.get(field)
    if columns is None:
        yield _no_field(name, "value", tuple(fields))
    elif element is not None and element >= columns.stop - columns.start:
        yield f'"{name}" is out of range: the array has {columns.stop - columns.start} elements'


def _beyond(value: Slots, columns: slice) -> Iterator[str]:
    """Report default bounds that the histogram does not have: the last slot has none."""
    last = value.lowest_exponent + columns.stop - columns.start - 2
    for each in value.default_exponents:
        if each > last:
            yield f'no bound of "{value.slots}" has the exponent {each}; name none above {last} in default_exponents'


def _fields_of(metric: Metric) -> tuple[str, ...]:
    value = metric.value
    if isinstance(value, (Spread, Distinct)):
        return (value.field,)
    return (value.slots, value.sum) if isinstance(value, Slots) else (*value.columns, *value.minus)


def _no_field(name: str, part: str, known: tuple[str, ...]) -> str:
    return f'its {part} has no field "{name}"{did_you_mean(name, known)}'
