# SPDX-License-Identifier: Apache-2.0
"""What a graph remembers about each of its components, so that a reload can decide about it and forget it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from ebpf_sidecar.pipeline.component import ComponentId
from ebpf_sidecar.pipeline.config.load import PipelineId
from ebpf_sidecar.pipeline.host import Context
from ebpf_sidecar.pipeline.telemetry.ledger import Published


class PartKey(NamedTuple):
    """One component of a running configuration; processors have one for each pipeline."""

    id: ComponentId
    pipeline: PipelineId | None = None

    def __str__(self) -> str:
        return f"{self.id.kind} {self.id}" + ("" if self.pipeline is None else f" ({self.pipeline})")


class UsedExtensions(Mapping[ComponentId, Any]):
    """The extensions that a component may use, which notes those that it looked up."""

    def __init__(self, extensions: Mapping[ComponentId, Any]) -> None:
        self._extensions = extensions
        self.used: set[ComponentId] = set()

    def __getitem__(self, id_: ComponentId) -> Any:
        found = self._extensions[id_]
        self.used.add(id_)
        return found

    def __contains__(self, id_: object) -> bool:
        return id_ in self._extensions

    def __iter__(self) -> Iterator[ComponentId]:
        return iter(self._extensions)

    def __len__(self) -> int:
        return len(self._extensions)


@runtime_checkable
class Withdrawable(Protocol):
    """Shows something about a component until that is gone."""

    def withdraw(self) -> None:
        """Show it no longer."""
        ...


@dataclass(frozen=True, slots=True)
class Made:
    """A component that was created, except for the component itself.

    ``gauges``: what the pipeline publishes about it.
    """

    context: Context
    extensions: UsedExtensions
    gauges: Published
    distribution: str = ""
    """The package that provides it, if known."""
    generation: int = 0
    """The number of the graph for which it was created."""

    def withdraw(self) -> None:
        """Show no more of it: gauges, heartbeat, routes. What was counted stays."""
        for each in (self.context.telemetry, self.context.heartbeat, self.context.routes, self.gauges):
            if isinstance(each, Withdrawable):
                each.withdraw()
