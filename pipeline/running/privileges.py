# SPDX-License-Identifier: Apache-2.0
"""Drops privileges before the service starts, to limit the damage if it is compromised.

This happens before any thread exists, because capabilities belong to threads. Privileged operations that components
need later go through a broker that is started first. If something cannot be dropped (in some sandboxes), this is logged
and the service continues.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from ebpf_sidecar.pipeline.component import ComponentId, ComponentKind
from ebpf_sidecar.pipeline.config.load import Config
from ebpf_sidecar.pipeline.config.privilege_settings import PrivilegeSettings
from ebpf_sidecar.pipeline.errors import Mistake
from ebpf_sidecar.pipeline.privileged import DirectOperations, PrivilegedOperations, RequiredPrivileges
from ebpf_sidecar.pipeline.process.capabilities import forbid_new_privileges, limit_capabilities, permitted_capabilities
from ebpf_sidecar.pipeline.process.seccomp import refuse_system_calls
from ebpf_sidecar.pipeline.telemetry.ledger import ERRORS, Ledger

from .broker import BrokerClient

log = logging.getLogger(__name__)
_BROKER = (("component", "privilege broker"), ("stage", "running"))


@dataclass
class ServicePrivileges:
    """The service's remaining privileges; ``privileged`` performs operations that need more."""

    privileged: PrivilegedOperations = field(default_factory=DirectOperations)
    granted: frozenset[RequiredPrivileges] | None = None
    """What was kept for components when the rest was dropped; None if nothing was dropped."""
    before: frozenset[str] = frozenset()
    """The capabilities that there were."""
    _reported: bool = False

    def refusals(self, old: Config, new: Config) -> Iterator[Mistake]:
        """What a reload to ``new`` needs that only a restart can give."""
        if old.service.privileges != new.service.privileges:
            message = "cannot change while the service runs; restart it, or restore this section"
            yield Mistake("service::privileges", message)
            return
        for id_, needs in _needs_of(new):
            if self._lacks(needs):
                message = "needs privileges that were dropped at the start; restart the service to use it"
                yield Mistake(f"{id_.kind.section}::{id_}", message)

    def _lacks(self, needs: RequiredPrivileges) -> bool:
        if self.granted is None or needs in self.granted:
            return False
        others = needs.modules and isinstance(self.privileged, BrokerClient)
        return bool(others or {*needs.capabilities, *needs.keep()} & self.before)

    def check(self, ledger: Ledger) -> None:
        """Report once that the broker has ended: attached probes continue to count."""
        status = self.privileged.ended() if isinstance(self.privileged, BrokerClient) else None
        if status is not None and not self._reported:
            self._reported = True
            ledger.add(ERRORS, 1, _BROKER)
            log.error(
                "the privilege broker has ended (exit status %d): attached probes continue to count, but new "
                "CPUs, the canary and other users' executable names need it; restart the service",
                status,
            )

    def close(self) -> None:
        """End the broker; safe to call twice."""
        self._reported = True
        if isinstance(self.privileged, BrokerClient):
            self.privileged.close()


def drop_privileges(config: Config) -> ServicePrivileges:
    """Drop the privileges that ``config`` does not need, for the whole process. Call it while there is one thread."""
    settings = config.service.privileges
    if not settings.drop:
        return ServicePrivileges()
    needs = list(needs_of(config))
    mine = permitted_capabilities()
    try:
        keep = {name for need in needs for name in need.keep()} | set(settings.keep)
        privileged = _privileged(needs, mine)
    except OSError as error:
        log.warning("all privileges are kept, because the privilege broker cannot be started: %s", error)
        return ServicePrivileges()
    _give_up(keep, settings)
    if missing := set(settings.keep) - mine:
        log.warning("service::privileges::keep: cannot keep %s, which it does not have", ", ".join(sorted(missing)))
    return ServicePrivileges(privileged, frozenset(needs), mine)


def needs_of(config: Config) -> Iterator[RequiredPrivileges]:
    """The required privileges of each component in use."""
    return (needs for _, needs in _needs_of(config))


def _needs_of(config: Config) -> Iterator[tuple[ComponentId, RequiredPrivileges]]:
    for kind in ComponentKind:
        configured = config.components(kind)
        yield from ((id_, configured[id_].factory.privileges) for id_ in sorted(config.service.used(kind)))


def _privileged(needs: list[RequiredPrivileges], mine: frozenset[str]) -> PrivilegedOperations:
    """A broker, if it is to keep any privileges for the service."""
    modules = dict.fromkeys(module for need in needs for module in need.modules)
    capabilities = {name for need in needs for name in need.capabilities} & mine
    return BrokerClient([*modules], capabilities) if capabilities else DirectOperations()


def _give_up(keep: set[str], settings: PrivilegeSettings) -> None:
    try:
        limit_capabilities(keep)
        forbid_new_privileges()
    except OSError as error:
        log.warning("privileges cannot be dropped: %s", error)
    _refuse_calls(settings)
    if len(os.listdir("/proc/self/task")) > 1:  # noqa: PTH208 # only counted
        log.warning("threads that a plugin started when it was imported keep their privileges")


def _refuse_calls(settings: PrivilegeSettings) -> None:
    if not settings.seccomp:
        return
    try:
        refuse_system_calls()
    except OSError as error:
        log.warning("no system call is refused: %s; install libseccomp2 (Debian) or libseccomp (Fedora)", error)
