# SPDX-License-Identifier: Apache-2.0
"""The command ``components``: everything that is installed, including broken plugins, and its metrics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import EntryPoint

import click

from ebpf_sidecar.pipeline.component import ComponentKind
from ebpf_sidecar.pipeline.errors import PluginError
from ebpf_sidecar.pipeline.plugins import Plugin, Plugins
from ebpf_sidecar.pipeline.suggestions import did_you_mean
from ebpf_sidecar.pipeline.telemetry.catalogue import catalogue
from ebpf_sidecar.pipeline.text_table import aligned

from .options import print_json

_KINDS = (*(kind.value for kind in ComponentKind), "command", "probes")


@dataclass(frozen=True, slots=True)
class ListedComponent:
    """One line of the list. ``error``: why it cannot be used; empty if it can."""

    kind: str
    type: str
    stability: str
    distribution: str
    version: str
    description: str
    error: str = ""


def components(*, as_json: bool) -> None:
    """Print all installed components as a table or as JSON."""
    found = list(list_components(Plugins()))
    if as_json:
        print_json([asdict(each) for each in found])
        return
    header = ("KIND", "TYPE", "STABILITY", "PACKAGE", "DESCRIPTION")
    rows = [
        (each.kind, each.type, each.stability, f"{each.distribution} {each.version}".strip(), _description(each))
        for each in found
    ]
    click.echo("\n".join(aligned([header, *rows])))


def metrics(*, as_json: bool) -> None:
    """Print every metric of the installed components, as a table or as JSON with all details."""
    found = list(catalogue(Plugins()))
    if as_json:
        print_json([asdict(each) for each in found])
        return
    rows = [(each.name, each.kind.value, each.unit, each.made_by, each.description) for each in found]
    click.echo("\n".join(aligned([("METRIC", "KIND", "UNIT", "MADE BY", "DESCRIPTION"), *rows])))


def list_components(plugins: Plugins) -> Iterator[ListedComponent]:
    """Every component and every set of probes, receivers first; those that cannot be loaded with the cause."""
    for kind, type_, plugin in plugins.all():
        yield _component(plugins, kind, type_, plugin)
    for plugin in plugins.non_components():
        yield _other(plugin, plugins)
    for entry, why in plugins.shadowed():
        wanted, _, name = entry.name.partition(".")
        yield ListedComponent(wanted, name, "broken", *_package(entry), "", why)


def _component(plugins: Plugins, kind: ComponentKind, type_: str, plugin: Plugin) -> ListedComponent:
    try:
        factory = plugins.factory(kind, type_)
    except PluginError as error:
        return ListedComponent(kind.value, type_, "broken", *_package(plugin.entry), "", str(error))
    return ListedComponent(kind.value, type_, factory.stability.value, *_package(plugin.entry), factory.description)


def _other(plugin: Plugin, plugins: Plugins) -> ListedComponent:
    """Probes, a command, or an entry point of unknown kind."""
    kind, _, type_ = plugin.entry.name.partition(".")
    try:
        if kind == "command":
            descriptions = [command.get_short_help_str(60) for command in plugin.commands() if command.name == type_]
            return ListedComponent(kind, type_, "", *_package(plugin.entry), "".join(descriptions))
        if kind in _KINDS and not type_:
            raise PluginError(f'entry point "{kind}" has no name after its kind; name it "{kind}.<name>"')
        if kind != "probes":
            hint = did_you_mean(kind, _KINDS)
            raise PluginError(f'entry point "{plugin.entry.name}": unknown kind "{kind}"{hint}')
        names = sorted(_probe_names(plugin, plugins))
    except PluginError as error:
        return ListedComponent(kind, type_, "broken", *_package(plugin.entry), "", str(error))
    return ListedComponent(kind, type_, "", *_package(plugin.entry), ", ".join(names))


def _probe_names(plugin: Plugin, plugins: Plugins) -> Iterator[str]:
    """Names of the probes in the plugin's folders; marked if another plugin (ours first) already has that name."""
    for folder in plugin.probe_folders():
        for path in folder.glob("*.yaml"):
            first = next((each for each in plugins.probe_folders() if (each / path.name).exists()), folder)
            yield path.stem if first == folder else f"{path.stem} (not used: {first} has one of this name)"


def _package(entry: EntryPoint) -> tuple[str, str]:
    dist = entry.dist
    return (dist.name, dist.version) if dist else ("unknown", "")


def _description(each: ListedComponent) -> str:
    return " ".join(each.error.split()) if each.error else each.description
