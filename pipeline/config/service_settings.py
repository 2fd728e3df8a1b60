# SPDX-License-Identifier: Apache-2.0
"""What the ``service`` section says: which pipelines run, what they are made of, and how the process behaves.

```yaml
service:
  pipelines:
    metrics: {receivers: [ebpf], processors: [rate], exporters: [prometheus]}
```
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from ebpf_sidecar.pipeline.component import ComponentId, ComponentKind
from ebpf_sidecar.pipeline.settings import Settings, Within

from .privilege_settings import PrivilegeSettings

SIGNAL = "metrics"
"""The one signal that flows through pipelines here."""


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value  # the Collector takes INFO as well


class LogSettings(Settings):
    """The service's own log, on standard error."""

    level: Annotated[Literal["debug", "info", "warn", "error"], BeforeValidator(_lower)] = "info"
    """The least important messages that are written."""
    encoding: Literal["console", "json"] = "console"
    """Lines for people, or one JSON object per line."""


class TelemetrySettings(Settings):
    """What the service says about itself."""

    logs: LogSettings = LogSettings()
    """The service's own log."""
    resource: dict[str, str] = Field(default_factory=dict)
    """Resource attributes to add to those found on the machine, or to replace them, as in ``service.name: storage``."""


class PipelineBody(Settings):
    """A pipeline as written: ids of components, data flowing from the receivers through the processors in order."""

    receivers: tuple[str, ...] = ()
    """Where data comes from; at least one."""
    processors: tuple[str, ...] = ()
    """What is done with it, in this order; each pipeline has its own instances."""
    exporters: tuple[str, ...] = ()
    """Where it goes; each gets all data. An exporter may be in several pipelines."""


class ServiceBody(Settings):
    """The service section as written, without its pipelines."""

    extensions: tuple[str, ...] = ()
    """Extensions to run, started in this order before the pipelines."""
    telemetry: TelemetrySettings = TelemetrySettings()
    """What the service says about itself."""
    shutdown_timeout: Annotated[float, Within("100ms", "1h")] = 10.0
    """How long the pipelines may take to drain when the service stops."""
    privileges: PrivilegeSettings = PrivilegeSettings()
    """Which rights the service gives up once it is about to start."""


@dataclass(frozen=True, slots=True, order=True)
class PipelineId:
    """A pipeline as the file names it: ``metrics`` or ``metrics/name``."""

    name: str = ""

    def __str__(self) -> str:
        return f"{SIGNAL}/{self.name}" if self.name else SIGNAL


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """What a pipeline is made of, in the order of the file."""

    receivers: tuple[ComponentId, ...]
    processors: tuple[ComponentId, ...]
    exporters: tuple[ComponentId, ...]

    def ids(self, kind: ComponentKind) -> tuple[ComponentId, ...]:
        """The components of one kind."""
        found: tuple[ComponentId, ...] = getattr(self, kind.section)
        return found


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """The checked service section. ``shutdown_timeout`` in seconds."""

    pipelines: Mapping[PipelineId, PipelineSettings]
    extensions: tuple[ComponentId, ...] = ()
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    shutdown_timeout: float = 10.0
    privileges: PrivilegeSettings = field(default_factory=PrivilegeSettings)

    def used(self, kind: ComponentKind) -> set[ComponentId]:
        """The components of one kind that run."""
        if kind is ComponentKind.EXTENSION:
            return set(self.extensions)
        return {id_ for pipeline in self.pipelines.values() for id_ in pipeline.ids(kind)}


def listed_ids(tree: Any, kind: ComponentKind) -> list[Any]:
    """What stands in the lists of one kind of component, as written, or the reference to where it is."""
    service = tree.get("service") if isinstance(tree, dict) else None
    if not isinstance(service, dict) or kind is ComponentKind.EXTENSION:
        return [_below(service, kind.section)]
    pipelines = service.get("pipelines")
    bodies = pipelines.values() if isinstance(pipelines, dict) else [pipelines]
    return [_below(body, kind.section) for body in bodies]


def _below(tree: Any, key: str) -> Any:
    return tree.get(key) if isinstance(tree, dict) else tree
