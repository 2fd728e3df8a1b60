# SPDX-License-Identifier: Apache-2.0
"""One installed plugin: imported when it is asked, and blamed by name when it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from .errors import PluginError
from .hooks import PROJECT, Hooks

if TYPE_CHECKING:
    import click

    from .checks import Check
    from .component import Factory


@dataclass(frozen=True)
class Plugin:
    """An installed entry point, not imported until a factory is asked for."""

    entry: EntryPoint
    rival: str = ""
    """Another package that brings something else under the same name; which one is meant cannot be known."""
    displaced: tuple[EntryPoint, ...] = ()
    """Entry points of other packages with the name of one of ours, which is never replaced."""

    @property
    def ours(self) -> bool:
        """Whether the product itself brings it."""
        return is_ours(self.entry)

    @cached_property
    def distribution(self) -> str:
        """Name and version of the package that brings it."""
        return distribution_of(self.entry)

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
        except (Exception, SystemExit) as cause:  # a plugin may fail in any way, and must not take others down
            raise self._error(cause) from cause
        return manager.hook

    def factories(self) -> tuple[Factory, ...]:
        """The factories it registers. Raises `PluginError`."""
        answers = self._answers("register_components")
        from .component import Factory  # noqa: PLC0415 # takes NumPy with it, which commands do without

        return self._all_of(Factory, "register_components", answers)

    def probe_folders(self) -> tuple[Path, ...]:
        """The folders of probe pairs it registers. Raises `PluginError`."""
        return self._answers("register_probes", Path)

    def commands(self) -> tuple[click.Command, ...]:
        """The commands it registers. Raises `PluginError`."""
        return self._answers("register_commands")

    def checks(self) -> tuple[Check, ...]:
        """The checks for the doctor that it registers. Raises `PluginError`."""
        answers = self._answers("register_checks")
        from .checks import Check  # noqa: PLC0415 # see factories

        return self._all_of(Check, "register_checks", answers)

    def _answers(self, hook: str, make: Callable[[Any], Any] = lambda answer: answer) -> tuple[Any, ...]:
        """Everything that the plugin's implementations of a hook return, each through ``make``."""
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
        said = f"{type(cause).__name__}: {cause}" if isinstance(cause, BaseException) else str(cause)
        return PluginError(
            f'plugin "{self.entry.name}" of {self.distribution} cannot be loaded: {said}; update or remove that package'
        )


def installed(entries: Iterable[EntryPoint] | None = None) -> dict[str, Plugin]:
    """All installed plugins by the names of their entry points; ``entries`` stands in for those of this Python."""
    plugins: dict[str, Plugin] = {}
    found = entry_points(group=PROJECT) if entries is None else entries
    for entry in sorted(found, key=lambda entry: (entry.name, not is_ours(entry))):
        first = plugins.get(entry.name)
        plugins[entry.name] = Plugin(entry) if first is None else _beside(first, entry)
    return plugins


def _beside(first: Plugin, entry: EntryPoint) -> Plugin:
    """``first`` when another entry point has its name; the same one found twice is no conflict."""
    if entry.value == first.entry.value:
        return first
    if first.ours:
        return replace(first, displaced=(*first.displaced, entry))
    return Plugin(entry, first.distribution)


def is_ours(entry: EntryPoint) -> bool:
    """Whether what it leads to is part of the product."""
    return entry.module.partition(".")[0] == PROJECT


def distribution_of(entry: EntryPoint) -> str:
    """Name and version of the package that brings an entry point."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown distribution"
