# SPDX-License-Identifier: Apache-2.0
"""How components are found: one entry-point group, names ``kind.type``.

Only the entry points that a configuration names are imported. Each is loaded into a manager of its own, so that a
broken one is reported by name and cause and cannot affect others. Imports no NumPy, which most commands do not need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from .checks import Check
from .component_methods import method_problem
from .errors import PluginError
from .hooks import PROJECT, Hooks, hookimpl, hookspec
from .ids import ComponentKind

if TYPE_CHECKING:
    import click

    from .component import Factory

__all__ = ["PROJECT", "Plugin", "Plugins", "hookimpl", "hookspec", "installed_plugins"]

_BUILTIN_PROBES = "probes.builtin"


@dataclass(frozen=True)
class Plugin:
    """An installed entry point, imported on first use, and named in the error when it fails."""

    entry: EntryPoint
    conflicting_distribution: str = ""
    """Another package that provides a plugin of the same name; which one is meant is unknown."""
    shadowed: tuple[EntryPoint, ...] = ()
    """Entry points of other packages with the name of a built-in one, which is never replaced."""

    @property
    def is_builtin(self) -> bool:
        """Whether it is part of the product."""
        return is_builtin_entry(self.entry)

    @cached_property
    def distribution(self) -> str:
        """Name and version of its package."""
        return distribution_of(self.entry)

    @cached_property
    def hooks(self) -> Any:
        """The plugin's hook callers. Raises `PluginError` naming distribution and cause."""
        if self.conflicting_distribution:
            raise self._error(f"{self.conflicting_distribution} provides a plugin of the same name")
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(Hooks)
        try:
            manager.register(self.entry.load(), name=self.entry.name)
            manager.check_pending()
        except (Exception, SystemExit) as cause:  # a plugin may fail in any way, and must not affect others
            raise self._error(cause) from cause
        return manager.hook

    def factories(self) -> tuple[Factory, ...]:
        """The factories it registers. Raises `PluginError`."""
        answers = self._answers("register_components")
        from .component import Factory  # noqa: PLC0415 # imports NumPy

        return self._all_of(Factory, "register_components", answers)

    def probe_folders(self) -> tuple[Path, ...]:
        """The folders of probe pairs it registers. Raises `PluginError`."""
        return self._answers("register_probes", Path)

    def commands(self) -> tuple[click.Command, ...]:
        """The commands it registers. Raises `PluginError`."""
        return self._answers("register_commands")

    def checks(self) -> tuple[Check, ...]:
        """The checks for ``doctor`` that it registers. Raises `PluginError`."""
        return self._all_of(Check, "register_checks", self._answers("register_checks"))

    def _answers(self, hook: str, make: Callable[[Any], Any] = lambda answer: answer) -> tuple[Any, ...]:
        """All values that the plugin's implementations of a hook return, each passed through ``make``."""
        try:
            return tuple(make(each) for answer in getattr(self.hooks, hook)() for each in answer)
        except PluginError:
            raise
        except (Exception, SystemExit) as cause:  # see hooks
            raise self._error(cause) from cause

    def _all_of(self, kind: type[Any], hook: str, answers: tuple[Any, ...]) -> tuple[Any, ...]:
        for answer in answers:
            if not isinstance(answer, kind):
                raise self._error(f"{hook} returned {answer!r}; return {kind.__name__} objects")
        return answers

    def _error(self, cause: object) -> PluginError:
        why = f"{type(cause).__name__}: {cause}" if isinstance(cause, BaseException) else str(cause)
        return PluginError(
            f'plugin "{self.entry.name}" of {self.distribution} cannot be loaded: {why}; update or remove that package'
        )


class Plugins:
    """All installed plugins by the names of their entry points."""

    def __init__(self, entries: Iterable[EntryPoint] | None = None) -> None:
        self._plugins = installed_plugins(entries)

    def types(self, kind: ComponentKind) -> tuple[str, ...]:
        """The installed component types of a kind, by entry-point name alone: nothing is imported."""
        prefix = f"{kind.value}."
        return tuple(name.removeprefix(prefix) for name in self._plugins if name.startswith(prefix))

    def plugin(self, kind: ComponentKind, type_: str) -> Plugin | None:
        """The plugin that provides a component, or None."""
        return self._plugins.get(f"{kind.value}.{type_}")

    def factory(self, kind: ComponentKind, type_: str) -> Factory:
        """The factory of a component. Raises `PluginError` if it is not installed or broken."""
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
        """The checks that a component type's plugin registers. Raises `PluginError`."""
        plugin = self.plugin(kind, type_)
        found = plugin.checks() if plugin else ()
        return tuple(check for check in found if (check.kind, check.type) == (kind, type_))

    def probe_folders(self) -> tuple[Path, ...]:
        """The folders of probe pairs of all plugins whose entry point starts with ``probes.``, our own first.

        Broken plugins are left out, see `broken_probes`: a configuration may not need their probes.
        """
        return tuple(folder for answer in self._probes() if not isinstance(answer, PluginError) for folder in answer)

    def broken_probes(self) -> tuple[PluginError, ...]:
        """The errors of probe plugins that cannot be loaded."""
        return tuple(answer for answer in self._probes() if isinstance(answer, PluginError))

    def _probes(self) -> Iterator[tuple[Path, ...] | PluginError]:
        for name in sorted((name for name in self._plugins if name.startswith("probes.")), key=_BUILTIN_PROBES.__ne__):
            try:
                yield self._plugins[name].probe_folders()
            except PluginError as broken:
                yield broken

    def distribution(self, kind: ComponentKind, type_: str) -> str:
        """Name and version of a component's package; empty if it is not installed."""
        plugin = self.plugin(kind, type_)
        return plugin.distribution if plugin else ""

    def shadowed(self) -> tuple[tuple[EntryPoint, str], ...]:
        """Entry points that are not used because a built-in one has their name, with a message for each."""
        return tuple(
            (entry, _shadowed_message(entry)) for plugin in self._plugins.values() for entry in plugin.shadowed
        )

    def non_components(self) -> tuple[Plugin, ...]:
        """The plugins that are not components by name: probes, and unknown kinds."""
        components = {plugin.entry.name for _, _, plugin in self.all()}
        return tuple(plugin for name, plugin in self._plugins.items() if name not in components)

    def all(self) -> tuple[tuple[ComponentKind, str, Plugin], ...]:
        """All installed components, receivers first."""
        return tuple(
            (kind, type_, plugin)
            for kind in ComponentKind
            for type_ in self.types(kind)
            if (plugin := self.plugin(kind, type_)) is not None
        )


def installed_plugins(entries: Iterable[EntryPoint] | None = None) -> dict[str, Plugin]:
    """All installed plugins by entry-point name; ``entries`` replace those of this Python."""
    plugins: dict[str, Plugin] = {}
    found = entry_points(group=PROJECT) if entries is None else entries
    for entry in sorted(found, key=lambda entry: (entry.name, not is_builtin_entry(entry))):
        first = plugins.get(entry.name)
        plugins[entry.name] = Plugin(entry) if first is None else _beside(first, entry)
    return plugins


def _beside(first: Plugin, entry: EntryPoint) -> Plugin:
    """``first`` combined with another entry point of its name; finding the same one twice is not a conflict."""
    if entry.value == first.entry.value:
        return first
    if first.is_builtin:
        return replace(first, shadowed=(*first.shadowed, entry))
    return Plugin(entry, first.distribution)


def is_builtin_entry(entry: EntryPoint) -> bool:
    """Whether it points into the product itself."""
    return entry.module.partition(".")[0] == PROJECT


def distribution_of(entry: EntryPoint) -> str:
    """Name and version of an entry point's package."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown distribution"


def _checked(factory: Factory, plugin: Plugin) -> Factory:
    """The factory, if its class, where it is known already, has the methods of its kind."""
    create = factory.create
    problem = method_problem(factory.kind, create, sends=factory.sends) if isinstance(create, type) else ""
    if problem:
        raise PluginError(f'{factory.kind} "{factory.type}" of {plugin.distribution}: {problem}; update or remove it')
    return factory


def _shadowed_message(entry: EntryPoint) -> str:
    return (
        f'plugin "{entry.name}" of {distribution_of(entry)} is not used: the product has one of this name; '
        "rename it, or remove that package"
    )
