# SPDX-License-Identifier: Apache-2.0
"""Exclusive resources that two components cannot share: ports, paths, folders, and the cleanup of kernel maps.

Factories declare them (`Factory.claims`), so that ``check`` reports what ``run`` could not start, with the location in
the file, for plugins as well. Nothing is opened and no name is resolved here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from ebpf_sidecar.pipeline.component import Claim, ComponentId, ComponentKind, MapCleanup, OwnFolder
from ebpf_sidecar.pipeline.endpoint import Address, Listening
from ebpf_sidecar.pipeline.errors import Mistake
from ebpf_sidecar.pipeline.http.status_pages import PATHS, RELOAD

from .component_sections import ConfiguredComponent, Sections
from .service_settings import ServiceSettings
from .validation import Marks, mistake, plugin_failure
from .yaml_document import Location

_ORDER = (ComponentKind.EXPORTER, ComponentKind.PROCESSOR, ComponentKind.RECEIVER, ComponentKind.EXTENSION)


@dataclass(frozen=True, slots=True)
class _Claim:
    """One claim of a component in use, or of the service itself."""

    id: ComponentId | None
    what: Claim

    @property
    def at(self) -> Location:
        """Where it is written."""
        below = () if isinstance(self.what, MapCleanup) else self.what.setting
        owner = ("service", "reload") if self.id is None else (self.id.kind.section, str(self.id))
        return (*owner, *below)

    @property
    def owner(self) -> str:
        """Who claims it, in messages."""
        return "service::reload" if self.id is None else f'{self.id.kind} "{self.id}"'


def conflicts(components: Sections, service: ServiceSettings, marks: Marks) -> list[Mistake]:
    """A mistake for each component that cannot get what it claims, reported at the later of two."""
    claims: dict[ComponentId, list[_Claim]] = {}
    found: list[tuple[Location, str]] = []
    for id_, configured in _running(components, service):
        try:
            claims[id_] = _claims(id_, configured)
        except Exception as error:  # noqa: BLE001 # a plugin's code
            found.append(((id_.kind.section, str(id_)), plugin_failure(error)))
    listening = [claim for each in claims.values() for claim in each if not isinstance(claim.what, MapCleanup)]
    if service.reload.endpoint is not None:
        listening.append(_Claim(None, Listening(service.reload.endpoint, RELOAD)))
    found += [*_ports(listening), *_cleanups(claims, service)]
    return [mistake(at, message, marks) for at, message in dict.fromkeys(found)]


def exclude_each_other(
    one: tuple[ComponentId, ConfiguredComponent], other: tuple[ComponentId, ConfiguredComponent]
) -> bool:
    """Whether these two cannot run at the same time, by what they claim."""
    return any(_collision(first, second) for first in _claims(*one) for second in _claims(*other))


def _running(components: Sections, service: ServiceSettings) -> Iterator[tuple[ComponentId, ConfiguredComponent]]:
    for kind in _ORDER:
        used = service.used(kind)
        yield from ((id_, configured) for id_, configured in components[kind].items() if id_ in used)


def _claims(id_: ComponentId, configured: ConfiguredComponent) -> list[_Claim]:
    claims = [_Claim(id_, what) for what in configured.factory.claims(configured.settings)]
    for claim in claims:
        if isinstance(claim.what, Listening):
            Address.parse(claim.what.endpoint)  # here, so that it is reported as the plugin's mistake
    return claims


def _ports(claims: list[_Claim]) -> Iterator[tuple[Location, str]]:
    refused: set[_Claim] = set()
    for claim in claims:
        what = claim.what
        if isinstance(what, Listening) and what.path in PATHS:
            refused.add(claim)
            yield claim.at, f'"{what.path}" on "{what.endpoint}" is taken by the status pages; choose another path'
    for earlier, later in combinations(claims, 2):
        message = _collision(earlier, later)
        if message and not {earlier, later} & refused:
            refused.add(later)
            yield later.at, message


def _collision(earlier: _Claim, later: _Claim) -> str:
    """Why both cannot have what they claim; empty if they can."""
    first, second = earlier.what, later.what
    if isinstance(first, OwnFolder) and isinstance(second, OwnFolder) and first.path == second.path:
        return f'"{second.path}" is taken by {earlier.owner}; choose another folder'
    if isinstance(first, Listening) and isinstance(second, Listening):
        return _port_collision(first, second, earlier.owner)
    return ""


def _port_collision(first: Listening, second: Listening, owner: str) -> str:
    one, other = Address.parse(first.endpoint), Address.parse(second.endpoint)
    if one != other:
        shared = f'"{second.endpoint}" and "{first.endpoint}" of {owner} share a port'
        return f"{shared}; write the same endpoint in both, or choose another port" if one.overlaps(other) else ""
    if not first.path or not second.path:
        if not other.port:
            return ""  # each gets a port of its own
        return f'"{second.endpoint}" is taken by {owner} for another protocol; choose another port'
    if first.path == second.path:
        return f'"{second.path}" on "{second.endpoint}" is taken by {owner}; choose another path or endpoint'
    return ""


def _cleanups(claims: Mapping[ComponentId, list[_Claim]], service: ServiceSettings) -> Iterator[tuple[Location, str]]:
    """A receiver can apply one cleanup only, whichever of its pipelines requests it."""
    for receiver in sorted(service.used(ComponentKind.RECEIVER)):
        fed = [pipeline for pipeline in service.pipelines.values() if receiver in pipeline.receivers]
        ids = dict.fromkeys(id_ for pipeline in fed for id_ in pipeline.processors)
        asking = [claim for id_ in ids for claim in claims.get(id_, ()) if isinstance(claim.what, MapCleanup)]
        for claim in asking[1:]:
            if claim.what != asking[0].what:
                first = "::".join(map(str, asking[0].at))
                wanted = f'requests another map cleanup of receiver "{receiver}" than {first}'
                yield claim.at, f"{wanted}; use the same settings, or only one of them"
