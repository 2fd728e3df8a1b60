# SPDX-License-Identifier: Apache-2.0
"""Hook specifications, and how components are found: one entry-point group, names ``kind.type``.

Only the entry points that a configuration names are imported. Each is loaded into a manager of its own, so that a
broken one is reported by name and cause and cannot harm another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pluggy

from .component import ComponentKind, Factory
from .errors import PluginError

PROJECT = "ebpf_sidecar"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Hooks:
    """What a plugin may implement."""

    @hookspec
    def register_components(self) -> Sequence[Factory]:  # type: ignore[empty-body] # pluggy calls plugins, not this
        """Return the factories of the components that this plugin brings."""

    @hookspec
    def register_probes(self) -> Sequence[Path]:  # type: ignore[empty-body] # pluggy calls plugins, not this
        """Return the folders that hold this plugin's probe pairs (<probe>.c and <probe>.yaml)."""


@dataclass(frozen=True)
class Plugin:
    """An installed entry point, not imported until a factory is asked for."""

    entry: EntryPoint
    rival: str = ""
    """Another package that brings something else under the same name; which one is meant cannot be known."""

    @property
    def distribution(self) -> str:
        """Name and version of the package that brings it."""
        dist = self.entry.dist
        return f"{dist.name} {dist.version}" if dist else "unknown distribution"

    @cached_property
    def hooks(self) -> Any:
        """The plugin's hook callers. Raises `PluginError` naming distribution and cause."""
        if self.rival:
            raise self._error(f"{self.rival} brings a plugin of the same name")
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(Hooks)
        try:
            manager.register(self.entry.load(), name=self.entry.name)
            manager.check_pending()
        except Exception as cause:  # a plugin may fail in any way, and must not take others down
            raise self._error(cause) from cause
        return manager.hook

    def factories(self) -> tuple[Factory, ...]:
        """The factories it registers. Raises `PluginError`."""
        try:
            answers = [factory for answer in self.hooks.register_components() for factory in answer]
        except PluginError:
            raise
        except Exception as cause:  # see hooks
            raise self._error(cause) from cause
        for factory in answers:
            if not isinstance(factory, Factory):
                raise self._error(f"register_components returned {factory!r}; return Factory objects")
        return tuple(answers)

    def probe_folders(self) -> tuple[Path, ...]:
        """The folders of probe pairs it registers. Raises `PluginError`."""
        try:
            return tuple(Path(folder) for answer in self.hooks.register_probes() for folder in answer)
        except PluginError:
            raise
        except Exception as cause:  # see hooks
            raise self._error(cause) from cause

    def _error(self, cause: object) -> PluginError:
        said = f"{type(cause).__name__}: {cause}" if isinstance(cause, BaseException) else str(cause)
        return PluginError(
            f'plugin "{self.entry.name}" of {self.distribution} cannot be loaded: {said}; update or remove that package'
        )


class Plugins:
    """All installed plugins by the names of their entry points."""

    def __init__(self, entries: Iterable[EntryPoint] | None = None) -> None:
        found = entry_points(group=PROJECT) if entries is None else entries
        self._plugins: dict[str, Plugin] = {}
        for entry in sorted(found, key=lambda entry: entry.name):
            other = self._plugins.get(entry.name)
            rival = other.distribution if other and other.entry.value != entry.value else ""
            self._plugins[entry.name] = Plugin(entry, rival)

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
                return factory
        raise PluginError(
            f'plugin "{plugin.entry.name}" of {plugin.distribution} registers no {kind.value} of type "{type_}"; '
            "update or remove that package"
        )

    def probe_folders(self) -> tuple[Path, ...]:
        """The folders of probe pairs of all plugins whose entry point begins with ``probes.``; raises `PluginError`."""
        plugins = [plugin for name, plugin in self._plugins.items() if name.startswith("probes.")]
        return tuple(folder for plugin in plugins for folder in plugin.probe_folders())

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
