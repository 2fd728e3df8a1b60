# SPDX-License-Identifier: Apache-2.0
"""From the user's files to validated, typed, immutable settings: the entry point of this package.

    locations            the locations in ``--config``: files, and the Collector's other schemes
    sources              reads them, and merges them with ``--set``
    yaml_document        YAML with source positions and the Collector's types
    expansion            ``${env:…}`` and ``${file:…}``
    component_sections   receivers, processors, exporters, …
    validation           checks a component's body against its settings class
    pydantic_messages    turns pydantic errors into our messages
    service_section      pipelines and the components that they refer to
    service_settings     the settings of the service section
    conflicts            exclusive resources of components
    storage_references   extensions that senders name for their queues
    limiters             queues that limiters name, and where limiters stand in pipelines
    rereading            reads the same sources again

`load` reports every mistake of every part in one `ConfigError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ebpf_sidecar.pipeline.component import ComponentId, ComponentKind
from ebpf_sidecar.pipeline.errors import ConfigError, Mistake
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.secrets_in_text import known_secrets
from ebpf_sidecar.pipeline.suggestions import did_you_mean

from .bounded_read import read_file
from .component_sections import ConfiguredComponent, Sections, read_sections
from .conflicts import conflicts
from .expansion import expand, has_reference, read_text, unwrapped_tree
from .limiters import late_limiters, queue_references
from .service_section import read_service
from .service_settings import PipelineId, PipelineSettings, ServiceSettings, listed_ids
from .sources import ConfigSource, InlineSource, merged_document, source_name
from .storage_references import storage_references
from .validation import Marks, in_order, mistake
from .yaml_document import Document

__all__ = [
    "ComponentId",
    "Config",
    "ConfigSource",
    "ConfiguredComponent",
    "InlineSource",
    "PipelineId",
    "PipelineSettings",
    "ServiceSettings",
    "load",
    "resolved",
]

_LISTED_IN = dict.fromkeys(ComponentKind, "a pipeline") | {ComponentKind.EXTENSION: "service::extensions"}

Components = Mapping[ComponentId, ConfiguredComponent]


@dataclass(frozen=True, slots=True)
class Config:
    """A valid configuration. ``warnings`` are about settings that work, but are probably not intended."""

    receivers: Components
    processors: Components
    exporters: Components
    extensions: Components
    service: ServiceSettings
    warnings: tuple[Mistake, ...] = ()
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    """Text from variables and files whose names suggest secrets: must not be shown or logged."""

    def components(self, kind: ComponentKind) -> Components:
        """The components of one kind, in the order of the file."""
        found: Components = getattr(self, kind.section)
        return found


def load(
    sources: Sequence[ConfigSource],
    overrides: Sequence[str],
    plugins: Plugins,
    environ: Mapping[str, str],
    read: Callable[[Path], bytes] = read_file,
) -> Config:
    """The configuration in ``sources`` (later ones win), then ``overrides`` (``a.b=c``); ``read`` reads files.

    Imports only the plugins of components that the files name. Raises `ConfigError` with every mistake.
    """
    secrets: set[str] = set()
    with known_secrets(secrets):
        return _load(sources, overrides, plugins, environ, secrets, read)


def _load(  # noqa: PLR0917 # what a configuration is made of, each once
    sources: Sequence[ConfigSource],
    overrides: Sequence[str],
    plugins: Plugins,
    environ: Mapping[str, str],
    secrets: set[str],
    read: Callable[[Path], bytes],
) -> Config:
    document = merged_document(sources, overrides, read)
    tree, mistakes = expand(document, environ, partial(read_text, read=read), secrets.add)
    if not tree:
        where = ", ".join(map(source_name, sources))
        raise ConfigError(
            [Mistake("", 'nothing is configured; start with "receivers:", as in configs/default.yaml', where)]
        )
    components, wrong = read_sections(tree, document.marks, plugins)
    service, more = read_service(tree, document.marks)
    if service:
        more += [
            *conflicts(components, service, document.marks),
            *storage_references(components, service, document.marks),
            *queue_references(components, service, document.marks),
        ]
    mistakes += _without_consequences(mistakes, [*_unknown_sections(tree, document.marks), *wrong, *more])
    if mistakes or service is None:
        raise ConfigError(in_order(mistakes, document.marks))
    found = (
        *_unused(components, service, document),
        *_shadowed(components, plugins, document),
        *late_limiters(components, service, document.marks),
    )
    warnings = tuple(warning.without_secrets() for warning in found)
    sections = {kind.section: MappingProxyType(components[kind]) for kind in ComponentKind}
    return Config(**sections, service=service, warnings=warnings, secrets=frozenset(secrets))


def resolved(
    sources: Sequence[ConfigSource],
    overrides: Sequence[str],
    environ: Mapping[str, str],
    note_secret: Callable[[str], None] = lambda _text: None,
) -> Any:
    """The merged and expanded configuration, including secrets: use `redaction` before showing it.

    ``note_secret`` is called with each text from a variable or file whose name suggests a secret. Nothing is imported
    and no component is validated. Raises `ConfigError` if something cannot be read or expanded.
    """
    document = merged_document(sources, overrides)
    tree, mistakes = expand(document, environ, note_secret=note_secret)
    if mistakes:
        raise ConfigError(in_order(mistakes, document.marks))
    return unwrapped_tree(tree)


def _unknown_sections(tree: Mapping[str, Any], marks: Marks) -> Iterator[Mistake]:
    known = [*(kind.section for kind in ComponentKind), "service"]
    for key in tree:
        if key == "connectors":
            yield mistake(
                (), "connectors are not supported; list the exporters in each pipeline instead", marks, (key,)
            )
        elif key not in known:
            yield mistake((), f'unknown section "{key}"{did_you_mean(key, known)}', marks, (key,))


def _unused(components: Sections, service: ServiceSettings, document: Document) -> Iterator[Mistake]:
    """A warning for each unused component, unless a reference in the lists may select it."""
    for kind in ComponentKind:
        if has_reference(listed_ids(document.value, kind)):
            continue
        for id_ in components[kind].keys() - service.used(kind):
            at = (kind.section, str(id_))
            yield mistake(
                at, f"{kind} is configured but not used; list it in {_LISTED_IN[kind]} or remove it", document.marks
            )


def _shadowed(components: Sections, plugins: Plugins, document: Document) -> Iterator[Mistake]:
    """A warning for each plugin that is shadowed by a component that is used here."""
    named = {f"{kind}.{id_.type}": (kind.section, str(id_)) for kind in ComponentKind for id_ in components[kind]}
    for entry, why in plugins.shadowed():
        if entry.name in named:
            yield mistake(named[entry.name], why, document.marks)


def _without_consequences(first: Iterable[Mistake], later: Iterable[Mistake]) -> list[Mistake]:
    """The mistakes of ``later``, without consequences of an unresolved reference at the same position."""
    places = {each.where for each in first} - {""}
    return [each for each in later if each.where not in places]
