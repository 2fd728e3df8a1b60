# SPDX-License-Identifier: Apache-2.0
"""How components are found: one entry-point group, names ``kind.type``.

Only the entry points that a configuration names are imported. Each is loaded into a manager of its own, so that a
broken one is reported by name and cause and cannot harm another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

from .checks import Check
from .component import ComponentKind, Factory
from .errors import PluginError
from .hooks import PROJECT, hookimpl, hookspec
from .methods import broken_method
from .plugin import Plugin, distribution_of, installed

__all__ = ["PROJECT", "Plugin", "Plugins", "hookimpl", "hookspec"]

_OURS = "probes.builtin"


class Plugins:
    """All installed plugins by the names of their entry points."""

    def __init__(self, entries: Iterable[EntryPoint] | None = None) -> None:
        self._plugins = installed(entries)

    def types(self, kind: ComponentKind) -> tuple[str, ...]:
        """The types of components of a kind that are installed, by entry-point name alone: nothing is imported."""
        prefix = f"{kind.value}."
        return tuple(name.removeprefix(prefix) for name in self._plugins if name.startswith(prefix))

    def plugin(self, kind: ComponentKind, type_: str) -> Plugin | None:
        """The plugin that brings a component, or None."""
        return self._plugins.get(f"{kind.value}.{type_}")

    def factory(self, kind: ComponentKind, type_: str) -> Factory:
        """The factory of a component. Raises `PluginError` when it is not installed or broken."""
        plugin = self.plugin(kind, type_)
        if plugin is None:
            raise PluginError(f'{kind.value} "{type_}" is not installed')
        for factory in plugin.factories():
            if (factory.kind, factory.type) == (kind, type_):
                return _checked(factory, plugin)
        raise PluginError(
            f'plugin "{plugin.entry.name}" of {plugin.distribution} registers no {kind.value} of type "{type_}"; '
            "update or remove that package"
        )

    def checks(self, kind: ComponentKind, type_: str) -> tuple[Check, ...]:
        """The checks for a type of component that its plugin brings. Raises `PluginError`."""
        plugin = self.plugin(kind, type_)
        found = plugin.checks() if plugin else ()
        return tuple(check for check in found if (check.kind, check.type) == (kind, type_))

    def probe_folders(self) -> tuple[Path, ...]:
        """The folders of probe pairs of all plugins whose entry point begins with ``probes.``, our own first.

        A plugin that is broken is left out, see `broken_probes`: a configuration may do without its probes.
        """
        return tuple(folder for answer in self._probes() if not isinstance(answer, PluginError) for folder in answer)

    def broken_probes(self) -> tuple[PluginError, ...]:
        """What is wrong with the plugins of probes that cannot be loaded."""
        return tuple(answer for answer in self._probes() if isinstance(answer, PluginError))

    def _probes(self) -> Iterator[tuple[Path, ...] | PluginError]:
        for name in sorted((name for name in self._plugins if name.startswith("probes.")), key=_OURS.__ne__):
            try:
                yield self._plugins[name].probe_folders()
            except PluginError as broken:
                yield broken

    def distribution(self, kind: ComponentKind, type_: str) -> str:
        """Name and version of the package that brings a component; empty where it is not installed."""
        plugin = self.plugin(kind, type_)
        return plugin.distribution if plugin else ""

    def displaced(self) -> tuple[tuple[EntryPoint, str], ...]:
        """Entry points that are not used because they have the name of one of ours, and what to say about each."""
        return tuple((entry, _displaced(entry)) for plugin in self._plugins.values() for entry in plugin.displaced)

    def others(self) -> tuple[Plugin, ...]:
        """The plugins that are no component by their name: probes, and names that say nothing."""
        components = {plugin.entry.name for _, _, plugin in self.all()}
        return tuple(plugin for name, plugin in self._plugins.items() if name not in components)

    def all(self) -> tuple[tuple[ComponentKind, str, Plugin], ...]:
        """Every component that is installed, receivers first."""
        return tuple(
            (kind, type_, plugin)
            for kind in ComponentKind
            for type_ in self.types(kind)
            if (plugin := self.plugin(kind, type_)) is not None
        )


def _checked(factory: Factory, plugin: Plugin) -> Factory:
    """The factory, if its class, where that is known before anything is made, has the methods of its kind."""
    problem = broken_method(factory.kind, factory.create) if isinstance(factory.create, type) else ""
    if problem:
        raise PluginError(f'{factory.kind} "{factory.type}" of {plugin.distribution}: {problem}; update or remove it')
    return factory


def _displaced(entry: EntryPoint) -> str:
    return (
        f'plugin "{entry.name}" of {distribution_of(entry)} is not used: the product has one of this name; '
        "rename it, or remove that package"
    )
