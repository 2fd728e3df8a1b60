# SPDX-License-Identifier: Apache-2.0
"""What a reload changes: which components live on, and which are created or shut down."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from ebpf_sidecar.pipeline.component import ComponentId, ComponentKind
from ebpf_sidecar.pipeline.config.conflicts import exclude_each_other
from ebpf_sidecar.pipeline.config.load import Config, ConfiguredComponent

from .parts import PartKey

Parts = Mapping[PartKey, ConfiguredComponent]
Uses = Callable[[PartKey], Collection[ComponentId]]


@dataclass(frozen=True, slots=True)
class ReloadPlan:
    """Components of the running configuration and of the new one, by what becomes of them.

    ``first``: those of ``changed`` and ``removed`` that must be shut down before their successors can start; ``last``:
    those of ``changed`` and ``added`` that start after them.
    """

    kept: frozenset[PartKey]
    changed: frozenset[PartKey]
    added: frozenset[PartKey]
    removed: frozenset[PartKey]
    first: frozenset[PartKey] = frozenset()
    last: frozenset[PartKey] = frozenset()

    def with_users(self, uses: Uses) -> ReloadPlan:
        """The plan once the new components are created: those that use extensions of ``last`` start after these."""
        return replace(self, last=frozenset(_with_users(self.last, self.fresh, uses)))

    @property
    def gone(self) -> frozenset[PartKey]:
        """What is shut down."""
        return self.changed | self.removed

    @property
    def fresh(self) -> frozenset[PartKey]:
        """What is created."""
        return self.changed | self.added

    def __str__(self) -> str:
        parts = (("kept", self.kept), ("changed", self.changed), ("added", self.added), ("removed", self.removed))
        return "; ".join(f"{word}: {', '.join(sorted(map(str, keys)))}" for word, keys in parts if keys)


def plan(old: Config, new: Config, uses: Uses, *, rebuild: bool = False) -> ReloadPlan:
    """What is equal lives on, unless an extension that it ``uses`` does not. ``rebuild``: nothing lives on."""
    before, after = parts_of(old), parts_of(new)
    same = {key for key in before.keys() & after.keys() if not rebuild and _equal(before[key], after[key])}
    while lost := {key for key in same if any(PartKey(id_) not in same for id_ in uses(key))}:
        same -= lost
    changed = (before.keys() & after.keys()) - same
    added, removed = after.keys() - before.keys(), before.keys() - after.keys()
    gone, fresh = changed | removed, changed | added
    first = _with_users({key for key in gone if _excludes_any(key, before, fresh, after)}, gone, uses)
    first |= {key for key in changed if uses(key)}  # what it has there is not for two at a time
    last = {key for key in fresh if key in first or _excludes_any(key, after, first, before)}
    return ReloadPlan(*map(frozenset, (same, changed, added, removed, first, last)))


def parts_of(config: Config) -> dict[PartKey, ConfiguredComponent]:
    """The components that a configuration uses."""
    return dict(_parts_of(config))


def _parts_of(config: Config) -> Iterator[tuple[PartKey, ConfiguredComponent]]:
    for kind in (ComponentKind.EXTENSION, ComponentKind.EXPORTER, ComponentKind.RECEIVER):
        components, used = config.components(kind), config.service.used(kind)
        yield from ((PartKey(id_), components[id_]) for id_ in sorted(used))
    for id_, pipeline in config.service.pipelines.items():
        yield from ((PartKey(each, id_), config.processors[each]) for each in pipeline.processors)


def _equal(one: ConfiguredComponent, other: ConfiguredComponent) -> bool:
    try:
        return type(one.settings) is type(other.settings) and bool(one.settings == other.settings)
    except Exception:  # noqa: BLE001 # settings of a plugin that cannot be compared
        return False


def _excludes_any(key: PartKey, own: Parts, others: Collection[PartKey], among: Parts) -> bool:
    """Whether a component cannot run beside one of the ``others``."""
    return any(exclude_each_other((key.id, own[key]), (other.id, among[other])) for other in others)


def _with_users(keys: Collection[PartKey], among: Collection[PartKey], uses: Uses) -> set[PartKey]:
    """With everything that uses these extensions, directly or not: it must not outlive them."""
    found = set(keys)
    while more := {key for key in among if key not in found and any(PartKey(id_) in found for id_ in uses(key))}:
        found |= more
    return found
