# SPDX-License-Identifier: Apache-2.0
"""Export requests, parsed only as far as they differ from request to request.

The messages are the official ones, except that some parts stay bytes: what has been read before is then recognized by
comparing bytes, which is many times faster than making objects of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from opentelemetry.proto.metrics.v1 import metrics_pb2

_PACKAGE = metrics_pb2.DESCRIPTOR.package
_POINTS = tuple(f"{kind}DataPoint" for kind in ("Number", "Histogram", "ExponentialHistogram", "Summary"))
Field = descriptor_pb2.FieldDescriptorProto


def _messages(stays_bytes: Callable[[str], bool], *names: str) -> list[Any]:
    """The named message classes, with fields of some message types (full names) as bytes."""
    file = descriptor_pb2.FileDescriptorProto()
    metrics_pb2.DESCRIPTOR.CopyToProto(file)
    del file.dependency[:]
    for field in (field for message in file.message_type for field in message.field):
        if field.type == Field.TYPE_MESSAGE and stays_bytes(field.type_name[1:]):
            field.type = Field.TYPE_BYTES
            field.ClearField("type_name")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return [message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in names]


def _is_foreign(name: str) -> bool:
    """Of resources, scopes and attributes."""
    return not name.startswith(_PACKAGE)


# MetricsData has the same field as ExportMetricsServiceRequest
[Request] = _messages(lambda name: _is_foreign(name) or name.endswith(_POINTS), "MetricsData")
"""An ``ExportMetricsServiceRequest`` in which resources, scopes and data points are bytes."""
NumberPoint, HistogramPoint, ExponentialPoint = _messages(
    lambda name: _is_foreign(name) or name.endswith(".Exemplar"), *_POINTS[:3]
)
"""Data points in which attributes and exemplars are bytes."""


def description(point: Any) -> bytes:
    """The serialized ``NumberDataPoint`` that has only the attributes and flags of a point of any kind."""
    serialized: bytes = NumberPoint(attributes=point.attributes, flags=point.flags).SerializeToString()
    return serialized


def is_description(text: bytes, point: Any) -> bool:
    """Whether ``text``, of which ``point`` was parsed, has nothing in it but attributes and flags.

    Their shortest form takes as many bytes as they all are.
    """
    size = sum([1 + _varint_size(len(each)) + len(each) for each in point.attributes])
    return size + (1 + _varint_size(point.flags) if point.flags else 0) == len(text)


def _varint_size(number: int) -> int:
    return 1 if number < 128 else (number.bit_length() + 6) // 7


def varint(number: int) -> bytes:
    """A length as it is written before a field."""
    size = _varint_size(number)
    groups = [number >> 7 * place & 0x7F | 0x80 for place in range(size)]
    groups[-1] &= 0x7F
    return bytes(groups)
