# SPDX-License-Identifier: Apache-2.0
"""The component sections: each entry becomes a factory and its validated settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ebpf_sidecar.pipeline.component import ComponentId, ComponentKind, Factory
from ebpf_sidecar.pipeline.errors import Mistake, PluginError
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.settings import Settings
from ebpf_sidecar.pipeline.suggestions import did_you_mean

from .expansion import Expanded
from .pydantic_messages import quoted
from .validation import Marks, mistake, validated
from .yaml_document import Location


@dataclass(frozen=True, slots=True)
class ConfiguredComponent:
    """A component as configured: its factory and its settings.

    ``distribution``: the package that provides it, for error messages.
    """

    factory: Factory
    settings: Settings
    distribution: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a section as written in the file."""

    id: ComponentId
    at: Location
    body: Any


Sections = Mapping[ComponentKind, Mapping[ComponentId, ConfiguredComponent]]


def read_sections(tree: Mapping[str, Any], marks: Marks, plugins: Plugins) -> tuple[Sections, list[Mistake]]:
    """All valid components, and all mistakes in the others."""
    mistakes: list[Mistake] = []
    sections: dict[ComponentKind, dict[ComponentId, ConfiguredComponent]] = {kind: {} for kind in ComponentKind}
    for kind in ComponentKind:
        entries, wrong = read_entries(tree, kind, marks)
        mistakes += wrong
        for entry in entries:
            component, wrong = _component(entry, marks, plugins)
            mistakes += wrong
            if component is not None:
                sections[kind][entry.id] = component
    return sections, mistakes


def read_entries(tree: Mapping[str, Any], kind: ComponentKind, marks: Marks) -> tuple[list[Entry], list[Mistake]]:
    """The entries of a section that have valid ids, and the mistakes of the others."""
    section = unwrapped(tree.get(kind.section))
    at = (kind.section,)
    if not isinstance(section, dict):
        wrong = (
            []
            if section is None
            else [mistake(at, f"{quoted(section)} is not a mapping; write {{type: settings}}", marks)]
        )
        return [], wrong
    entries: dict[ComponentId, Entry] = {}
    mistakes: list[Mistake] = []
    for key, body in section.items():
        try:
            id_ = ComponentId.parse(kind, key)
        except ValueError as error:
            mistakes.append(mistake((*at, key), str(error), marks))
            continue
        if id_ in entries:
            mistakes.append(mistake((*at, key), f'{kind} "{id_}" is written twice; keep one of them', marks))
        entries.setdefault(id_, Entry(id_, (*at, key), body))
    return list(entries.values()), mistakes


def find_factory(plugins: Plugins, id_: ComponentId) -> Factory:
    """The factory of a component. Raises `PluginError` with a suggestion if the type is not installed."""
    installed = plugins.types(id_.kind)
    if id_.type in installed:
        return plugins.factory(id_.kind, id_.type)
    hint = did_you_mean(id_.type, installed) or '; "ebpf-sidecar components" lists what is installed'
    raise PluginError(f'{id_.kind} type "{id_.type}" is not installed{hint}')


def unwrapped(value: Any) -> Any:
    """A value without its `Expanded` wrapper; nested values keep theirs."""
    return unwrapped(value.value) if isinstance(value, Expanded) else value


def _component(entry: Entry, marks: Marks, plugins: Plugins) -> tuple[ConfiguredComponent | None, list[Mistake]]:
    try:
        factory = find_factory(plugins, entry.id)
    except PluginError as error:
        return None, [mistake(entry.at, str(error), marks)]
    settings, mistakes = validated(factory.settings, unwrapped(entry.body), entry.at, marks)
    if settings is None:
        return None, mistakes
    return ConfiguredComponent(factory, settings, plugins.distribution(entry.id.kind, entry.id.type)), []
