# SPDX-License-Identifier: Apache-2.0
"""Queues that limiters give up (``shed``) have to exist, and limiters should be first in their pipelines."""

from __future__ import annotations

from collections.abc import Iterator

from ebpf_sidecar.pipeline.component import ComponentId, ComponentKind
from ebpf_sidecar.pipeline.errors import Mistake
from ebpf_sidecar.pipeline.limiter_settings import LimiterSettings, queue_name
from ebpf_sidecar.pipeline.push_settings import PushSettings
from ebpf_sidecar.pipeline.suggestions import did_you_mean

from .component_sections import ConfiguredComponent, Sections
from .service_settings import ServiceSettings
from .validation import Marks, mistake


def queue_references(components: Sections, service: ServiceSettings, marks: Marks) -> Iterator[Mistake]:
    """A mistake for each entry of a limiter's ``shed`` that cannot be given up."""
    problems = _problems(components, service)
    for id_, settings in _limiters(components, service).items():
        for position, name in enumerate(settings.shed):
            if name in settings.shed[:position]:
                problem = f'"{name}" is listed twice; keep one of them'
            elif name in problems:
                problem = problems[name]
            else:
                known = [queue for queue, why in problems.items() if not why]
                problem = f'"{name}" is no queue of an exporter{did_you_mean(name, known) or "; remove it"}'
            if problem:
                yield mistake((id_.kind.section, str(id_), "shed", position), problem, marks)


def late_limiters(components: Sections, service: ServiceSettings, marks: Marks) -> Iterator[Mistake]:
    """A warning for each pipeline in which others work on a batch before a limiter refuses it."""
    limiters = _limiters(components, service)
    for pipeline, settings in service.pipelines.items():
        first = next((each for each in settings.processors if each not in limiters), None)
        behind = settings.processors[settings.processors.index(first) :] if first else ()
        for id_ in (each for each in behind if each in limiters):
            at = ("service", "pipelines", str(pipeline), "processors", settings.processors.index(id_))
            message = f'"{id_}" refuses batches on which "{first}" has already worked; list it first'
            yield mistake(at, message, marks)


def _limiters(components: Sections, service: ServiceSettings) -> dict[ComponentId, LimiterSettings]:
    used = service.used(ComponentKind.PROCESSOR)
    configured = components[ComponentKind.PROCESSOR].items()
    return {
        id_: each.settings for id_, each in configured if id_ in used and isinstance(each.settings, LimiterSettings)
    }


def _problems(components: Sections, service: ServiceSettings) -> dict[str, str]:
    """For the queue of each exporter why it cannot be given up; empty if it can."""
    used, configured = service.used(ComponentKind.EXPORTER), components[ComponentKind.EXPORTER]
    # what a pipeline lists and is not here has a mistake of its own
    return {queue_name(id_): "" for id_ in used} | {
        queue_name(id_): _problem(id_, each) if id_ in used else f'exporter "{id_}" is in no pipeline; remove it here'
        for id_, each in configured.items()
    }


def _problem(id_: ComponentId, configured: ConfiguredComponent) -> str:
    settings = configured.settings
    if not isinstance(settings, PushSettings) or not settings.sending_queue.enabled:
        return f'exporter "{id_}" has no queue; remove it here'
    if settings.sending_queue.storage is not None:
        return f'the queue of exporter "{id_}" is on disk, and giving it up frees no memory; remove it here'
    return ""
