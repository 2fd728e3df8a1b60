# SPDX-License-Identifier: Apache-2.0
"""Runs the service: from dropped privileges to the exit code."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import count

from ebpf_sidecar.pipeline.config.load import Config
from ebpf_sidecar.pipeline.config.rereading import ConfigReader
from ebpf_sidecar.pipeline.errors import SidecarError
from ebpf_sidecar.pipeline.process.heap import release_free_memory, use_one_heap
from ebpf_sidecar.pipeline.telemetry import logs

from .footprint import release_start_up
from .privileges import ServicePrivileges, drop_privileges
from .reloader import Reloader
from .service import Service
from .stop_request import StartInterrupted, StopRequest

log = logging.getLogger(__name__)
_TIDY_SECONDS = 10  # takes less than a millisecond, so it runs about as often as pages are rendered


def run_service(config: Config, request: StopRequest, *, reader: ConfigReader | None = None) -> int:
    """Run until a signal or a component requests the stop (see `stop_request`); returns the exit code.

    ``reader``: reads the configuration again for a reload; without it, a reload changes nothing.
    Raises `SidecarError` if the service cannot be started.
    """
    use_one_heap()
    logging_as = config.service.telemetry.logs
    logs.configure(logging_as.level, logging_as.encoding, secrets=config.secrets)
    privileges = drop_privileges(config)  # before any thread, and before signals raise exceptions
    try:
        return _run(config, request, privileges, reader)
    except StartInterrupted:
        log.info("stopped before the start was complete")
        return request.exit_code
    finally:
        privileges.close()


def _run(config: Config, request: StopRequest, privileges: ServicePrivileges, reader: ConfigReader | None) -> int:
    request.handle_signals()
    for warning in config.warnings:
        log.warning("%s", warning)
    service = _started(config, request, privileges)
    reloader = Reloader(service, privileges, reader.read, reader.changed) if reader else None
    reloader = reloader or Reloader(service, privileges, lambda: config)
    try:
        reloader.start()
        log.info("ready: %s", ", ".join(str(pipeline) for pipeline in config.service.pipelines))
        _until_asked(request, reloader, lambda: privileges.check(service.ledger))
    finally:
        reloader.stop()
        code = _drain(service)
    return code or request.exit_code


def _started(config: Config, request: StopRequest, privileges: ServicePrivileges) -> Service:
    """The running service. Raises `SidecarError`, and `StartInterrupted` if a signal has requested the stop."""
    try:
        if request.asked.is_set():  # after an earlier attempt, which failed
            raise StartInterrupted
        service = Service(config, stop_request=request, privileged=privileges.privileged)
        release_start_up(service.paths.proc)  # everything is imported, and none of our threads runs yet
        service.start()
    except SidecarError as problem:
        if request.asked.is_set():  # a library turned the interruption into a failure
            raise StartInterrupted from problem
        raise
    finally:
        request.starting = False  # even on failure: no code expects the exception later
    return service


def _until_asked(request: StopRequest, reloader: Reloader, check: Callable[[], None]) -> None:
    for second in count(1):
        reload = request.next_reload(1.0)  # bounded, so that a signal delivered to another thread is noticed
        if request.asked.is_set():
            return
        for signal_without_effect in request.ignored():
            log.warning("%s", signal_without_effect)
        if reload is not None:
            try:
                reloader.carry_out(reload)
            except StartInterrupted:
                return
        check()
        if second % _TIDY_SECONDS == 0:
            release_free_memory()


def _drain(service: Service) -> int:
    """Shut down; returns the exit code."""
    seconds = service.config.service.shutdown_timeout
    log.info("stopping: draining for at most %gs; a second signal exits at once", seconds)
    lost = service.shutdown()
    for problem in lost:
        log.error("not drained within %gs: %s", seconds, problem)
    log.info("stopped")
    return 1 if lost else 0
