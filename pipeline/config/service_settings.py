# SPDX-License-Identifier: Apache-2.0
"""The settings of the ``service`` section: which pipelines run, their components, and process settings.

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
from ebpf_sidecar.pipeline.endpoint import Endpoint
from ebpf_sidecar.pipeline.settings import Settings, Within

from .privilege_settings import PrivilegeSettings

SIGNAL = "metrics"
"""The only signal that pipelines carry."""


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value  # the Collector accepts INFO as well


class LogSettings(Settings):
    """The service's own log, on standard error."""

    level: Annotated[Literal["debug", "info", "warn", "error"], BeforeValidator(_lower)] = "info"
    """The lowest level that is logged."""
    encoding: Literal["console", "json"] = "console"
    """Lines for people, or one JSON object per line."""


class TelemetrySettings(Settings):
    """The service's own telemetry."""

    logs: LogSettings = LogSettings()
    """The service's own log."""
    resource: dict[str, str] = Field(default_factory=dict)
    """Resource attributes that are added to the detected ones or replace them, as in ``service.name: storage``."""


class ReloadSettings(Settings):
    """When the configuration is read again, besides after SIGHUP."""

    watch: bool = False
    """Read it again when its content has changed: that of the configuration files, and of files in `${file:…}`."""
    watch_interval: Annotated[float, Within("100ms", "24h")] = 10.0
    """How often `watch` compares the files."""
    endpoint: Endpoint | None = None
    """Where `POST /-/reload` is served, as in `127.0.0.1:13133`; it may be the endpoint of a component. Whoever reaches
    it can have the configuration read again, and is told what is wrong with it. null: nowhere."""


class PipelineBody(Settings):
    """A pipeline as written: component ids; data flows from the receivers through the processors in order."""

    receivers: tuple[str, ...] = ()
    """The receivers; at least one."""
    processors: tuple[str, ...] = ()
    """The processors, in this order; each pipeline has its own instances."""
    exporters: tuple[str, ...] = ()
    """The exporters; each gets all data. An exporter may be in several pipelines."""


class ServiceBody(Settings):
    """The service section as written, without its pipelines."""

    extensions: tuple[str, ...] = ()
    """Extensions to run, started in this order before the pipelines."""
    telemetry: TelemetrySettings = TelemetrySettings()
    """The service's own telemetry."""
    shutdown_timeout: Annotated[float, Within("100ms", "1h")] = 10.0
    """How long the pipelines may take to drain when the service stops."""
    privileges: PrivilegeSettings = PrivilegeSettings()
    """The privileges that the service drops before it starts."""
    reload: ReloadSettings = ReloadSettings()
    """When the configuration is read again, besides after SIGHUP."""


@dataclass(frozen=True, slots=True, order=True)
class PipelineId:
    """A pipeline as the file names it: ``metrics`` or ``metrics/name``."""

    name: str = ""

    def __str__(self) -> str:
        return f"{SIGNAL}/{self.name}" if self.name else SIGNAL


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """The components of a pipeline, in file order."""

    receivers: tuple[ComponentId, ...]
    processors: tuple[ComponentId, ...]
    exporters: tuple[ComponentId, ...]

    def ids(self, kind: ComponentKind) -> tuple[ComponentId, ...]:
        """The components of one kind."""
        found: tuple[ComponentId, ...] = getattr(self, kind.section)
        return found


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """The validated service section. ``shutdown_timeout`` in seconds."""

    pipelines: Mapping[PipelineId, PipelineSettings]
    extensions: tuple[ComponentId, ...] = ()
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    shutdown_timeout: float = 10.0
    privileges: PrivilegeSettings = field(default_factory=PrivilegeSettings)
    reload: ReloadSettings = field(default_factory=ReloadSettings)

    def used(self, kind: ComponentKind) -> set[ComponentId]:
        """The components of one kind that are in use."""
        if kind is ComponentKind.EXTENSION:
            return set(self.extensions)
        return {id_ for pipeline in self.pipelines.values() for id_ in pipeline.ids(kind)}


def listed_ids(tree: Any, kind: ComponentKind) -> list[Any]:
    """The lists of one kind of component as written, or the reference in their place."""
    service = tree.get("service") if isinstance(tree, dict) else None
    if not isinstance(service, dict) or kind is ComponentKind.EXTENSION:
        return [_below(service, kind.section)]
    pipelines = service.get("pipelines")
    bodies = pipelines.values() if isinstance(pipelines, dict) else [pipelines]
    return [_below(body, kind.section) for body in bodies]


def _below(tree: Any, key: str) -> Any:
    return tree.get(key) if isinstance(tree, dict) else tree
