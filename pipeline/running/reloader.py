# SPDX-License-Identifier: Apache-2.0
"""Carries out requests to reload: reads and checks the configuration, and lets the service change to it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ebpf_sidecar.pipeline.config.load import Config
from ebpf_sidecar.pipeline.errors import ConfigError, SidecarError, redacting
from ebpf_sidecar.pipeline.http.status_pages import RELOAD
from ebpf_sidecar.pipeline.telemetry import logs
from ebpf_sidecar.pipeline.telemetry.ledger import RELOAD_TIME, RELOADED

from .privileges import ServicePrivileges
from .reload_request import ReloadRequest
from .reload_triggers import ConfigWatch, ReloadPage, in_full
from .replacement import NotRestoredError
from .service import Service

log = logging.getLogger(__name__)
_MAX_BODY = 1024  # which makes it a page for POST; what is in it does not matter


class Reloader:
    """Reloads ``service`` from what ``read`` returns; ``changed``: whether its files have changed since.

    Everything but the requests happens in one thread, the main one, so reloads follow one after another.
    """

    def __init__(
        self,
        service: Service,
        privileges: ServicePrivileges,
        read: Callable[[], Config],
        changed: Callable[[], bool] = lambda: False,
    ) -> None:
        self._service, self._privileges, self._read, self._changed = service, privileges, read, changed
        self._secrets = service.config.secrets
        self._watch: ConfigWatch | None = None
        self._page = ReloadPage(service.stop_request.reload, service.stop_request.asked.is_set)
        self._successful, self._time = 1.0, service.clock.time_ns() / 1e9

    def start(self) -> None:
        """Follow the service's settings, and publish when its configuration was read.

        Raises `SidecarError` if the endpoint cannot be opened.
        """
        settings, ledger = self._service.config.service.reload, self._service.ledger
        if settings.endpoint is not None:
            self._service.routes.add(settings.endpoint, RELOAD, self._page.reload, max_body=_MAX_BODY)
        ledger.gauge(RELOADED, (), lambda: self._successful)
        ledger.gauge(RELOAD_TIME, (), lambda: self._time)
        self._follow_watch()

    def stop(self) -> None:
        """Watch no longer."""
        if self._watch is not None:
            self._watch.stop()

    def carry_out(self, request: ReloadRequest) -> None:
        """Reload, and say in the log and in ``request`` what became of it. Raises `StartInterrupted`."""
        log.info("%s: reading the configuration again", request.why)
        try:
            with redacting(self._secrets):
                request.summary = self._reload()
        except SidecarError as problem:
            self._refuse(request, problem)
        except Exception as problem:  # a bug must not end a service that works
            log.exception("the configuration cannot be reloaded")
            self._refuse(request, SidecarError(f"{type(problem).__name__}: {problem}"))
        except BaseException:
            request.problem = SidecarError("given up, because the service is stopping")
            raise
        else:
            self._successful, self._time = 1.0, self._service.clock.time_ns() / 1e9
            log.info("reloaded; %s", request.summary)
        finally:
            request.done.set()

    def _refuse(self, request: ReloadRequest, problem: SidecarError) -> None:
        request.problem, self._successful = problem, 0.0
        for line in [str(each) for each in getattr(problem, "mistakes", ())] or [in_full(problem)]:
            log.error("%s", line)
        if isinstance(problem, NotRestoredError):
            log.error("stopping, because a part of the configuration is missing")
            self._service.stop_request.ask(1)
        else:
            log.error("not reloaded; the previous configuration runs on")

    def _reload(self) -> str:
        old, new = self._service.config, self._read()
        if refused := list(self._privileges.refusals(old, new)):
            raise ConfigError(refused)
        self._note_secrets(old, new)
        for warning in new.warnings:
            log.warning("%s", warning)
        with redacting(self._secrets), self._endpoint(old, new):
            changes = self._service.reload(new, self._service.stop_request.interrupting)
        self._follow(old, new)
        return str(changes)

    def _note_secrets(self, old: Config, new: Config) -> None:
        """The secrets of both are redacted from now on: what runs on still has the old ones."""
        if not new.secrets <= self._secrets:
            self._secrets |= new.secrets
            as_before = old.service.telemetry.logs
            logs.configure(as_before.level, as_before.encoding, secrets=self._secrets)

    @contextmanager
    def _endpoint(self, old: Config, new: Config) -> Iterator[None]:
        """Serve the page on its new endpoint, too; no longer if the reload fails."""
        before, now = old.service.reload.endpoint, new.service.reload.endpoint
        moved = before != now
        if moved and now is not None:
            self._service.routes.add(now, RELOAD, self._page.reload, max_body=_MAX_BODY)
        try:
            yield
        except BaseException:
            if moved and now is not None:
                self._service.routes.remove(now, RELOAD)
            raise

    def _follow(self, old: Config, new: Config) -> None:
        """Follow the settings that belong to no component."""
        as_written, before = new.service.telemetry.logs, old.service.reload
        if as_written != old.service.telemetry.logs:
            logs.configure(as_written.level, as_written.encoding, secrets=self._secrets)
        if before != new.service.reload:
            self.stop()
            self._follow_watch()
        if before.endpoint is not None and before.endpoint != new.service.reload.endpoint:
            # its server waits for answers, and this may be the reload that it has to answer
            leave = (before.endpoint, RELOAD)
            threading.Thread(target=self._service.routes.remove, args=leave, daemon=True).start()

    def _follow_watch(self) -> None:
        settings, service = self._service.config.service.reload, self._service
        self._watch = None
        if settings.watch:
            ask = service.stop_request.reload
            self._watch = ConfigWatch(self._changed, settings.watch_interval, service.clock, ask)
            self._watch.start()
