# SPDX-License-Identifier: Apache-2.0
"""One ``ExportMetricsServiceRequest``, filled with metrics until it is full."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from ebpf_sidecar.pipeline.frame import Scope
from ebpf_sidecar.pipeline.resource import Resource

from .row_encoding import Extra
from .wire import attributes, message, prefix, text

_NESTING = 4 * 6  # bytes of tags and lengths around a metric, at most
Buffer = bytes | memoryview


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """The size of a request: bytes, and points of one metric of one resource (0: any number)."""

    max_bytes: int
    max_points: int = 0


@dataclass(frozen=True, slots=True)
class Metric:
    """Points of a metric of one resource and scope, as one ``Metric`` message."""

    resource: bytes
    scope: bytes
    head: bytes
    field: int
    properties: bytes
    points: memoryview
    number: int

    @property
    def size(self) -> int:
        """An upper bound of its bytes in a request that has its resource and scope."""
        return len(self.head) + len(self.properties) + len(self.points) + _NESTING

    def chunks(self) -> Iterable[Buffer]:
        """The message as field 2 of ``ScopeMetrics``."""
        data = prefix(self.field, len(self.properties) + len(self.points))
        size = len(self.head) + len(data) + len(self.properties) + len(self.points)
        return (prefix(2, size), self.head, data, self.properties, self.points)


@dataclass(slots=True)
class Request:
    """Metrics by resource and scope. ``points``: how many it holds."""

    limits: RequestLimits
    points: int = 0
    _size: int = 0
    _resources: dict[bytes, dict[bytes, dict[bytes, list[Metric]]]] = field(default_factory=dict)

    def fits(self, metric: Metric) -> bool:
        """Whether the request stays within its limits with a further metric; an empty one takes anything."""
        scopes = self._resources.get(metric.resource)
        around = 0 if scopes and metric.scope in scopes else len(metric.resource) + len(metric.scope) + _NESTING
        if self._size + metric.size + around > self.limits.max_bytes:
            return not self._size
        held = scopes.get(metric.scope, {}).get(metric.head, ()) if scopes else ()
        return not self.limits.max_points or sum(e.number for e in held) + metric.number <= self.limits.max_points

    def add(self, metric: Metric) -> None:
        """Put a metric into the request."""
        scopes = self._resources.setdefault(metric.resource, {})
        if metric.scope not in scopes:
            self._size += len(metric.resource) + len(metric.scope) + _NESTING
        scopes.setdefault(metric.scope, {}).setdefault(metric.head, []).append(metric)
        self._size += metric.size
        self.points += metric.number

    def body(self) -> bytes:
        """The request's bytes."""
        return b"".join(chunk for resource in self._resources.items() for chunk in _resource_chunks(*resource))


def _resource_chunks(resource: bytes, scopes: dict[bytes, dict[bytes, list[Metric]]]) -> list[Buffer]:
    inner: list[Buffer] = [resource]
    for scope, metrics in scopes.items():
        chunks = [scope, *(chunk for parts in metrics.values() for part in parts for chunk in part.chunks())]
        inner += [prefix(2, sum(map(len, chunks))), *chunks]
    return [prefix(1, sum(map(len, inner))), *inner]


@lru_cache(maxsize=4096)
def resource_message(resource: Resource, extra: Extra) -> bytes:
    """Field 1 of ``ResourceMetrics``; ``extra`` attributes take precedence."""
    return message(1, attributes(1, {**resource, **dict(extra)}))


@lru_cache(maxsize=64)
def scope_message(scope: Scope) -> bytes:
    """Field 1 of ``ScopeMetrics``."""
    return message(1, text(1, scope.name), text(2, scope.version))


@lru_cache(maxsize=1024)
def metric_head(name: str, description: str, unit: str) -> bytes:
    """The first three fields of ``Metric``."""
    return text(1, name) + text(2, description) + text(3, unit)
