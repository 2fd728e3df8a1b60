# SPDX-License-Identifier: Apache-2.0
"""The ``service`` section: which pipelines run, what they are made of, and how the process behaves.

```yaml
service:
  pipelines:
    metrics: {receivers: [ebpf], processors: [rate], exporters: [prometheus]}
```
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from .component import ComponentId, ComponentKind
from .errors import Mistake
from .sections import bare, read_entries
from .settings import Duration, Settings
from .suggestions import did_you_mean
from .validation import Marks, mistake, validated
from .wording import shown
from .yamltree import Location

SIGNAL = "metrics"
_OTHER_SIGNALS = ("traces", "logs", "profiles")
_AT = ("service", "pipelines")
_ROLES = (ComponentKind.RECEIVER, ComponentKind.PROCESSOR, ComponentKind.EXPORTER)


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
    shutdown_timeout: Duration = 10.0
    """How long the pipelines may take to drain when the service stops."""


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

    def used(self, kind: ComponentKind) -> set[ComponentId]:
        """The components of one kind that run."""
        if kind is ComponentKind.EXTENSION:
            return set(self.extensions)
        return {id_ for pipeline in self.pipelines.values() for id_ in pipeline.ids(kind)}


def listed(tree: Any, kind: ComponentKind) -> list[Any]:
    """What stands in the lists of one kind of component, as written, or the reference to where it is."""
    service = tree.get("service") if isinstance(tree, dict) else None
    if not isinstance(service, dict) or kind is ComponentKind.EXTENSION:
        return [_below(service, kind.section)]
    pipelines = service.get("pipelines")
    bodies = pipelines.values() if isinstance(pipelines, dict) else [pipelines]
    return [_below(body, kind.section) for body in bodies]


def _below(tree: Any, key: str) -> Any:
    return tree.get(key) if isinstance(tree, dict) else tree


def read_service(tree: Mapping[str, Any], marks: Marks) -> tuple[ServiceSettings | None, list[Mistake]]:
    """The service section, or everything that is wrong with it and with what it refers to."""
    section = bare(tree.get("service"))
    if not isinstance(section, dict):
        what = 'section "service" is missing' if section is None else f"{shown(section)} is not a mapping"
        return None, [mistake(("service",), f"{what}; write service: {{pipelines: {{metrics: …}}}}", marks)]
    references = _References(tree, marks)
    body, mistakes = validated(
        ServiceBody, {key: value for key, value in section.items() if key != "pipelines"}, ("service",), marks
    )
    extensions = references.ids(ComponentKind.EXTENSION, section.get("extensions"), ("service",))
    pipelines, wrong = _pipelines(bare(section.get("pipelines")), references, marks)
    mistakes += [*wrong, *references.mistakes]
    if mistakes or body is None:
        return None, mistakes
    return ServiceSettings(MappingProxyType(pipelines), extensions, body.telemetry, body.shutdown_timeout), []


def _pipelines(
    section: Any, references: _References, marks: Marks
) -> tuple[dict[PipelineId, PipelineSettings], list[Mistake]]:
    if not isinstance(section, dict) or not section:
        return {}, [mistake(_AT, "no pipeline is configured; write metrics: {receivers: […], exporters: […]}", marks)]
    found: dict[PipelineId, PipelineSettings] = {}
    mistakes: list[Mistake] = []
    for key, raw in section.items():
        at = (*_AT, key)
        id_ = _pipeline_id(key)
        if isinstance(id_, str):
            mistakes.append(mistake(at, id_, marks))
            continue
        if id_ in found:
            mistakes.append(mistake(at, f'pipeline "{id_}" is written twice; keep one of them', marks))
        mistakes += validated(PipelineBody, raw, at, marks)[1]
        found[id_] = references.pipeline(bare(raw), at)
    return found, mistakes


def _pipeline_id(key: str) -> PipelineId | str:
    """The id, or what is wrong with it."""
    signal, slash, name = key.partition("/")
    if signal.strip() == SIGNAL and (name.strip() or not slash):
        return PipelineId(name.strip())
    if signal in _OTHER_SIGNALS:
        return f'{signal} are not supported, only metrics; name the pipeline "{SIGNAL}" or "{SIGNAL}/name"'
    return f'"{key}" is not a pipeline id; write "{SIGNAL}" or "{SIGNAL}/name"'


class _References:
    """Follows the ids that the service section lists to what is configured, noting each that leads nowhere."""

    def __init__(self, tree: Mapping[str, Any], marks: Marks) -> None:
        self._marks = marks
        self._configured = {kind: [entry.id for entry in read_entries(tree, kind, marks)[0]] for kind in ComponentKind}
        self.mistakes: list[Mistake] = []

    def pipeline(self, body: Any, at: Location) -> PipelineSettings:
        """The ids of one pipeline."""
        lists = body if isinstance(body, dict) else {}
        receivers, processors, exporters = (self.ids(kind, lists.get(kind.section), at) for kind in _ROLES)
        for kind, ids in ((ComponentKind.RECEIVER, receivers), (ComponentKind.EXPORTER, exporters)):
            if not ids and not bare(lists.get(kind.section)):
                self._wrong(at, f"no {kind} is listed; add {kind.section}: […]", (*at, kind.section))
        return PipelineSettings(receivers, processors, exporters)

    def ids(self, kind: ComponentKind, listed: Any, at: Location) -> tuple[ComponentId, ...]:
        """The components that are listed and configured; what is no list of text is reported elsewhere."""
        values = bare(listed)
        names = [bare(each) for each in values] if isinstance(values, list) else []
        found = [self._id(kind, name, (*at, kind.section, n)) for n, name in enumerate(names) if isinstance(name, str)]
        for id_, times in Counter(id_ for id_ in found if id_ is not None).items():
            if times > 1:
                self._wrong(at, f'{kind} "{id_}" is listed {times} times; list it once', (*at, kind.section))
        return tuple(id_ for id_ in found if id_ is not None)

    def _id(self, kind: ComponentKind, text: str, place: Location) -> ComponentId | None:
        try:
            id_ = ComponentId.parse(kind, text)
        except ValueError as error:
            self._wrong(place[:-2], str(error), place)
            return None
        if id_ in self._configured[kind]:
            return id_
        self._wrong(place[:-2], f'{kind} "{text}" is not configured{self._hint(id_)}', place)
        return None

    def _hint(self, id_: ComponentId) -> str:
        """The closest configured id; or that it is configured as something else; or how to configure it."""
        for kind in ComponentKind:
            if kind is not id_.kind and str(id_) in map(str, self._configured[kind]):
                return f"; it is a{'n' if kind.value[0] == 'e' else ''} {kind}, list it under {kind.section}"
        hint = did_you_mean(str(id_), map(str, self._configured[id_.kind]))
        return hint or f"; add {id_}: {{}} to {id_.kind.section}"

    def _wrong(self, at: Location, message: str, place: Location) -> None:
        self.mistakes.append(mistake(at, message, self._marks, place))
