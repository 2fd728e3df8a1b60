# SPDX-License-Identifier: Apache-2.0
"""Whose points are known: one origin for each resource and scope, kept while it sends.

Ids are counted once for the whole receiver, so rows of different origins never share one. What has sent nothing for
an hour is forgotten, as is what was used least recently when more rows are known than memory should hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1 import resource_pb2

from ebpf_sidecar.pipeline.frame import Scope
from ebpf_sidecar.pipeline.resource import Resource

from .attribute_values import AttributeReader, texts_of
from .origin_rows import OriginRows

FORGET_SECONDS = 3600.0
MOST_ROWS = 1_000_000
"""Of all origins together, as `OriginRows.size` counts them."""
_SWEEP_SECONDS = 600.0


class Origins:
    """All origins of one receiver. Not thread-safe."""

    def __init__(self, most_rows: int = MOST_ROWS) -> None:
        self._most_rows, self._next_sweep = most_rows, 0.0
        self._ids: Iterator[int] = count()
        self._attributes = AttributeReader()
        self._origins: dict[tuple[Resource, str], OriginRows] = {}
        self._resources: dict[bytes, Resource] = {}
        self._scopes: dict[bytes, Scope] = {}

    def __len__(self) -> int:
        return len(self._origins)

    def begin(self, now: float) -> None:
        """Start a request at ``now``, in seconds of a monotonic clock: forget what may be forgotten."""
        if now >= self._next_sweep:
            self._next_sweep = now + _SWEEP_SECONDS
            self._forget_absent(now - FORGET_SECONDS)
        self._forget_surplus()

    def rows(self, resource: Resource, scope: Scope, now: float) -> OriginRows:
        """The rows of an origin, which is thereby in use."""
        key = resource, scope.name
        origin = self._origins.pop(key, None) or OriginRows(self._ids, self._attributes)
        self._origins[key] = origin  # at the end: the first one is the one that was not used for the longest time
        origin.used = now
        return origin

    def resource(self, body: bytes) -> Resource:
        """The resource in a serialized ``Resource``. Raises `google.protobuf.message.DecodeError`."""
        if body not in self._resources:
            self._resources[body] = Resource(texts_of(resource_pb2.Resource.FromString(body).attributes))
        return self._resources[body]

    def scope(self, body: bytes) -> Scope:
        """The scope in a serialized ``InstrumentationScope``. Raises `google.protobuf.message.DecodeError`."""
        if body not in self._scopes:
            scope = InstrumentationScope.FromString(body)
            self._scopes[body] = Scope(scope.name, scope.version)
        return self._scopes[body]

    def _forget_absent(self, before: float) -> None:
        self._attributes.clear()
        self._resources.clear()
        self._scopes.clear()
        self._origins = {key: origin for key, origin in self._origins.items() if origin.used >= before}
        for origin in self._origins.values():
            origin.forget_absent(before)

    def _forget_surplus(self) -> None:
        known = sum(origin.size for origin in self._origins.values())
        most = self._most_rows if known <= self._most_rows else self._most_rows // 2  # not again with every request
        for key in list(self._origins):
            if known <= most:
                return
            known -= self._origins.pop(key).size
