# SPDX-License-Identifier: Apache-2.0
"""Each kind of component: what it does, its stability, and its settings."""

from __future__ import annotations

import sys

from ebpf_sidecar.pipeline.component import ComponentKind, Factory
from ebpf_sidecar.pipeline.config.service_settings import PipelineBody, ServiceBody
from ebpf_sidecar.pipeline.settings import Settings

from .settings import settings_rows, settings_table
from .text import block, prose, sentence, table
from .tree import plugins


def factories(kind: str) -> list[Factory]:
    """Our own components of a kind, by type."""
    installed = plugins()
    return [installed.factory(ComponentKind(kind), type_) for type_ in sorted(installed.types(ComponentKind(kind)))]


@block
def components(kind: str, level: int = 2) -> str:
    """A table of the components of a kind, then a section for each with a heading of ``level``."""
    found = factories(kind)
    rows = [(f"[{each.type}](#{each.type})", each.stability.value, sentence(each.description)) for each in found]
    overview = table((kind, "stability", "what it does"), rows)
    return "\n\n".join([overview, *(_section(each, "#" * level) for each in found)])


def _section(factory: Factory, marks: str) -> str:
    docstring = sys.modules[_home(factory)].__doc__ or ""
    stability = f"Stability: {factory.stability.value}."
    return "\n\n".join([f"{marks} {factory.type}", prose(docstring), stability, settings_table(factory.settings)])


def _home(factory: Factory) -> str:
    """The module that the entry point names: its docstring is the component's."""
    installed = plugins().plugin(factory.kind, factory.type)
    return installed.entry.value if installed else factory.create.__module__


@block
def service_settings() -> str:
    """The ``service`` section's settings, those of a pipeline with their path."""
    shown: list[tuple[type[Settings], str]] = [(PipelineBody, "pipelines::metrics::"), (ServiceBody, "")]
    rows = [row for settings, prefix in shown for row in settings_rows(settings, prefix)]
    return table(("setting", "type", "default", "meaning"), rows)
