# SPDX-License-Identifier: Apache-2.0
"""Reads the ``service`` section: every pipeline, with every id resolved to a configured component."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ebpf_sidecar.pipeline.component import ComponentId, ComponentKind
from ebpf_sidecar.pipeline.errors import Mistake
from ebpf_sidecar.pipeline.suggestions import did_you_mean

from .component_sections import read_entries, unwrapped
from .expansion import Expanded
from .pydantic_messages import quoted
from .service_settings import SIGNAL, PipelineBody, PipelineId, PipelineSettings, ServiceBody, ServiceSettings
from .validation import Marks, mistake, validated
from .yaml_document import Location

_OTHER_SIGNALS = ("traces", "logs", "profiles")
_AT = ("service", "pipelines")
_ROLES = (ComponentKind.RECEIVER, ComponentKind.PROCESSOR, ComponentKind.EXPORTER)


def read_service(tree: Mapping[str, Any], marks: Marks) -> tuple[ServiceSettings | None, list[Mistake]]:
    """The valid part of the service section (None if there is none), and all mistakes in it and in what it refers
    to."""
    section = unwrapped(tree.get("service"))
    if not isinstance(section, dict):
        what = 'section "service" is missing' if section is None else f"{quoted(section)} is not a mapping"
        return None, [mistake(("service",), f"{what}; write service: {{pipelines: {{metrics: …}}}}", marks)]
    references = _ReferenceResolver(tree, marks)
    body, mistakes = validated(
        ServiceBody, {key: value for key, value in section.items() if key != "pipelines"}, ("service",), marks
    )
    extensions = references.ids(ComponentKind.EXTENSION, section.get("extensions"), ("service",))
    pipelines, wrong = _pipelines(unwrapped(section.get("pipelines")), references, marks)
    mistakes += [*wrong, *references.mistakes]
    body = body or ServiceBody()
    service = ServiceSettings(
        MappingProxyType(pipelines), extensions, body.telemetry, body.shutdown_timeout, body.privileges, body.reload
    )
    return service, mistakes


def _pipelines(
    section: Any, references: _ReferenceResolver, marks: Marks
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
        found[id_] = references.pipeline(unwrapped(raw), at)
    return found, mistakes


def _pipeline_id(key: str) -> PipelineId | str:
    """The id, or a message that says what is wrong."""
    signal, slash, name = key.partition("/")
    if signal.strip() == SIGNAL and (name.strip() or not slash):
        return PipelineId(name.strip())
    if signal in _OTHER_SIGNALS:
        return f'{signal} are not supported, only metrics; name the pipeline "{SIGNAL}" or "{SIGNAL}/name"'
    return f'"{key}" is not a pipeline id; write "{SIGNAL}" or "{SIGNAL}/name"'


def _name(value: Any) -> str | None:
    """An id as written, even if a reference's text parses as another type (``12``, ``true``); None if not text."""
    inner = unwrapped(value)
    if isinstance(inner, str):
        return inner
    return value.original if isinstance(value, Expanded) else None


class _ReferenceResolver:
    """Resolves the ids in the service section to configured components, noting unknown ones."""

    def __init__(self, tree: Mapping[str, Any], marks: Marks) -> None:
        self._marks = marks
        self._configured = {kind: [entry.id for entry in read_entries(tree, kind, marks)[0]] for kind in ComponentKind}
        self.mistakes: list[Mistake] = []

    def pipeline(self, body: Any, at: Location) -> PipelineSettings:
        """The ids of one pipeline."""
        lists = body if isinstance(body, dict) else {}
        receivers, processors, exporters = (self.ids(kind, lists.get(kind.section), at) for kind in _ROLES)
        for kind, ids in ((ComponentKind.RECEIVER, receivers), (ComponentKind.EXPORTER, exporters)):
            if not ids and not unwrapped(lists.get(kind.section)):
                self._wrong(at, f"no {kind} is listed; add {kind.section}: […]", (*at, kind.section))
        return PipelineSettings(receivers, processors, exporters)

    def ids(self, kind: ComponentKind, listed: Any, at: Location) -> tuple[ComponentId, ...]:
        """The listed components that are configured; anything but a list of text is reported elsewhere."""
        values = unwrapped(listed)
        names = [_name(each) for each in values] if isinstance(values, list) else []
        found = [self._id(kind, name, (*at, kind.section, n)) for n, name in enumerate(names) if name is not None]
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
        """The closest configured id, or the other kind that has this id, or how to configure it."""
        for kind in ComponentKind:
            if kind is not id_.kind and str(id_) in map(str, self._configured[kind]):
                return f"; it is a{'n' if kind.value[0] == 'e' else ''} {kind}, list it under {kind.section}"
        hint = did_you_mean(str(id_), map(str, self._configured[id_.kind]))
        return hint or f"; add {id_}: {{}} to {id_.kind.section}"

    def _wrong(self, at: Location, message: str, place: Location) -> None:
        self.mistakes.append(mistake(at, message, self._marks, place))
