# SPDX-License-Identifier: Apache-2.0
"""Extensions that senders name for their queues (``sending_queue::storage``) have to run."""

from __future__ import annotations

from collections.abc import Iterator

from ebpf_sidecar.pipeline.component import ComponentKind
from ebpf_sidecar.pipeline.errors import Mistake
from ebpf_sidecar.pipeline.push_settings import PushSettings
from ebpf_sidecar.pipeline.suggestions import did_you_mean

from .component_sections import Sections
from .service_settings import ServiceSettings
from .validation import Marks, mistake

_SETTING = ("sending_queue", "storage")


def storage_references(components: Sections, service: ServiceSettings, marks: Marks) -> Iterator[Mistake]:
    """A mistake for each sender in use whose storage does not run."""
    used, running = service.used(ComponentKind.EXPORTER), [str(each) for each in service.extensions]
    for id_, configured in components[ComponentKind.EXPORTER].items():
        settings = configured.settings
        if id_ not in used or not isinstance(settings, PushSettings):
            continue
        name = settings.sending_queue.storage
        if name is not None and name not in running:
            yield mistake((id_.kind.section, str(id_), *_SETTING), _message(name, components), marks)


def _message(name: str, components: Sections) -> str:
    configured = [str(each) for each in components[ComponentKind.EXTENSION]]
    if name in configured:
        return f'extension "{name}" is not running; list it in service::extensions'
    hint = did_you_mean(name, configured) or f"; add {name}: {{}} to extensions, and list it in service::extensions"
    return f'extension "{name}" is not configured{hint}'
