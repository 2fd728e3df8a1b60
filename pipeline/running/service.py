# SPDX-License-Identifier: Apache-2.0
"""The running service: starts in order, runs until asked to stop, and drains within a time limit."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from itertools import count
from typing import Any

from opentelemetry.sdk.resources import OTELResourceDetector

from ebpf_sidecar.pipeline.clock import Clock, Deadline, SystemClock
from ebpf_sidecar.pipeline.component import ComponentId, ComponentKind
from ebpf_sidecar.pipeline.config.load import Config
from ebpf_sidecar.pipeline.errors import SidecarError
from ebpf_sidecar.pipeline.host import Context, Paths
from ebpf_sidecar.pipeline.http.servers import HttpServers
from ebpf_sidecar.pipeline.http.status_pages import HEALTH_PATHS, RoutesWithStatusPages, StatusPages
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.privileged import DirectOperations, PrivilegedOperations
from ebpf_sidecar.pipeline.telemetry import logs
from ebpf_sidecar.pipeline.telemetry.component import ComponentTelemetry
from ebpf_sidecar.pipeline.telemetry.exposition import InternalTelemetry
from ebpf_sidecar.pipeline.telemetry.health import Health
from ebpf_sidecar.pipeline.telemetry.ledger import Ledger

from .footprint import release_free_memory, release_start_up, use_one_heap
from .graph import Graph, build
from .privileges import ServicePrivileges, drop_privileges
from .stop_request import StartInterrupted, StopRequest
from .stopping import stop_together

log = logging.getLogger(__name__)
_CLOSING_SECONDS = 1.0  # of the drain time, reserved for the servers that show the drain
_ENDS = (ComponentKind.RECEIVER, ComponentKind.EXPORTER)  # of a pipeline: without one of them nothing flows
_TIDY_SECONDS = 10  # takes less than a millisecond, so it runs about as often as pages are rendered


@dataclass
class Service:
    """A running configuration."""

    config: Config
    clock: Clock = field(default_factory=SystemClock)
    paths: Paths = field(default_factory=Paths)
    privileged: PrivilegedOperations = field(default_factory=DirectOperations)
    stop_request: StopRequest = field(default_factory=StopRequest)

    def __post_init__(self) -> None:
        self.ledger = Ledger()
        self.health = Health(self.clock)
        self.resource = detect_resource(self.config.service.telemetry.resource)
        self.internal_telemetry = InternalTelemetry(self.ledger, self.resource)
        self._finished: set[ComponentId] = set()
        self.servers = HttpServers(ledger=self.ledger, health_paths=HEALTH_PATHS)
        pages = StatusPages(
            self.health, self.ledger, self.clock, version("ebpf-sidecar"), self._pipelines, self.clock.monotonic()
        )
        self._routes = RoutesWithStatusPages(self.servers, pages)
        self.graph: Graph = build(self.config, self._context, self.ledger)

    def _context(self, id_: ComponentId) -> Context:
        # the component's id comes first in every line that it logs
        logger = _Prefixed(logging.getLogger(f"ebpf_sidecar.{id_.kind.section}.{id_.type}"), f"{id_.kind.value} {id_}")
        return Context(
            id=id_,
            telemetry=ComponentTelemetry(id_, self.ledger, logger),
            heartbeat=self.health.heartbeat(f"{id_.kind.value} {id_}"),
            routes=self._routes,
            internal_telemetry=partial(self.internal_telemetry.exposition, page=str(id_)),
            logger=logger,
            clock=self.clock,
            paths=self.paths,
            resource=self.resource,
            unready=self.health.unready,
            privileged=self.privileged,
            finished=partial(self._on_finished, id_),
        )

    def _on_finished(self, id_: ComponentId, exit_code: int = 0) -> None:
        """Stop when all receivers or all exporters have finished; the last one sets the exit code."""
        self._finished.add(id_)
        if self.config.service.used(id_.kind) <= self._finished and id_.kind in _ENDS:
            self.stop_request.ask(exit_code)

    def _pipelines(self) -> list[dict[str, Any]]:
        return [
            {
                "id": str(id_),
                "receivers": [str(r) for r in pipeline.receivers],
                "processors": [str(p) for p in pipeline.processors],
                "exporters": [str(e) for e in pipeline.exporters],
            }
            for id_, pipeline in self.config.service.pipelines.items()
        ]

    def start(self) -> None:
        """Start everything. Raises `SidecarError` naming the component that failed; then nothing is left running."""
        try:
            self.servers.start()
            self.graph.start()
        except BaseException:
            self.servers.shutdown()
            raise
        self.health.started()

    def shutdown(self) -> list[str]:
        """Drain and close everything within `shutdown_timeout`; returns messages about lost data."""
        self.health.stopping()
        seconds = self.config.service.shutdown_timeout
        end = Deadline.after(seconds, self.clock)
        closing = min(_CLOSING_SECONDS, seconds / 10)
        lost = self.graph.shutdown(seconds - closing, self.clock)
        parts = {"http servers": self.servers.shutdown, "own metrics": self.internal_telemetry.shutdown}
        for name in stop_together(parts, end):
            log.error("%s: did not stop in time", name)
        return lost


class _Prefixed(logging.LoggerAdapter[logging.Logger]):
    """Prefixes each message with the component."""

    def __init__(self, logger: logging.Logger, prefix: str) -> None:
        super().__init__(logger, {})
        self._prefix = prefix

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        """Add the prefix."""
        return f"{self._prefix}: {msg}", kwargs


def detect_resource(configured: Mapping[str, str]) -> dict[str, str]:
    """The resource of the service: the configuration, over OpenTelemetry environment variables, over defaults."""
    own = {
        "service.name": "ebpf-sidecar",
        "service.version": version("ebpf-sidecar"),
        "service.instance.id": platform.node(),
        "host.name": platform.node(),
        "os.type": "linux",
        "host.arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
    }
    # the detector itself: Resource.create() would add the SDK's own defaults, unknown_service among them
    from_environment = {k: str(v) for k, v in OTELResourceDetector().detect().attributes.items() if str(v)}
    return {**own, **from_environment, **configured}


def run_service(config: Config, request: StopRequest, *, plugins: Plugins) -> int:
    """Run until a signal or a component requests the stop (see `stop_request`); returns the exit code.

    Raises `SidecarError` if the service cannot be started.
    """
    del plugins  # already used when the configuration was read
    use_one_heap()
    logging_as = config.service.telemetry.logs
    logs.configure(logging_as.level, logging_as.encoding, secrets=config.secrets)
    privileges = drop_privileges(config)  # before any thread, and before signals raise exceptions
    try:
        return _run(config, request, privileges)
    except StartInterrupted:
        log.info("stopped before the start was complete")
        return request.exit_code
    finally:
        privileges.close()


def _run(config: Config, request: StopRequest, privileges: ServicePrivileges) -> int:
    request.handle_signals()
    for warning in config.warnings:
        log.warning("%s", warning)
    service = _started(config, request, privileges)
    log.info("ready: %s", ", ".join(str(pipeline) for pipeline in config.service.pipelines))
    _until_asked(request, lambda: privileges.check(service.ledger))
    return _drain(service, config.service.shutdown_timeout) or request.exit_code


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


def _until_asked(request: StopRequest, check: Callable[[], None]) -> None:
    for second in count(1):
        if request.asked.wait(1.0):  # bounded, so that a signal delivered to another thread is noticed
            return
        for signal_without_effect in request.ignored():
            log.warning("%s", signal_without_effect)
        check()
        if second % _TIDY_SECONDS == 0:
            release_free_memory()


def _drain(service: Service, seconds: float) -> int:
    """Shut down; returns the exit code."""
    log.info("stopping: draining for at most %gs; a second signal exits at once", seconds)
    lost = service.shutdown()
    for problem in lost:
        log.error("not drained within %gs: %s", seconds, problem)
    log.info("stopped")
    return 1 if lost else 0
