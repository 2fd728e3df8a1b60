# SPDX-License-Identifier: Apache-2.0
"""The running service: starts in order, runs until asked to stop, and drains within a time limit."""

from __future__ import annotations

import logging
import platform
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from typing import Any

from opentelemetry.sdk.resources import OTELResourceDetector

from ebpf_sidecar.pipeline.clock import Clock, Deadline, SystemClock
from ebpf_sidecar.pipeline.component import ComponentId, ComponentKind
from ebpf_sidecar.pipeline.config.load import Config
from ebpf_sidecar.pipeline.host import Context, Paths, SheddableQueue
from ebpf_sidecar.pipeline.http.own_routes import OwnRoutes
from ebpf_sidecar.pipeline.http.servers import HttpServers
from ebpf_sidecar.pipeline.http.status_pages import HEALTH_PATHS, RoutesWithStatusPages, StatusPages
from ebpf_sidecar.pipeline.privileged import DirectOperations, PrivilegedOperations
from ebpf_sidecar.pipeline.telemetry.component import ComponentTelemetry
from ebpf_sidecar.pipeline.telemetry.exposition import InternalTelemetry
from ebpf_sidecar.pipeline.telemetry.health import Health
from ebpf_sidecar.pipeline.telemetry.ledger import Ledger

from .graph import NOTHING, Predecessor, build
from .lifecycle import Graph
from .parts import PartKey
from .reload_plan import ReloadPlan, plan
from .replacement import Interruptible, Replacement
from .stop_request import StopRequest
from .stopping import Retiring, stop_together

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
        self._finished: set[tuple[ComponentId, int]] = set()
        self._generation = 0
        self._retiring = Retiring()
        self.servers = HttpServers(ledger=self.ledger, health_paths=HEALTH_PATHS)
        pages = StatusPages(
            self.health, self.ledger, self.clock, version("ebpf-sidecar"), self._pipelines, self.clock.monotonic()
        )
        self.routes = RoutesWithStatusPages(self.servers, pages)
        self.graph = NOTHING  # components may already speak while they are created
        self.graph = build(self.config, self._context, self.ledger)

    def _context(self, id_: ComponentId, generation: int = 0, resource: Mapping[str, str] | None = None) -> Context:
        # the component's id comes first in every line that it logs
        logger = _Prefixed(logging.getLogger(f"ebpf_sidecar.{id_.kind.section}.{id_.type}"), f"{id_.kind.value} {id_}")
        return Context(
            id=id_,
            telemetry=ComponentTelemetry(id_, self.ledger, logger),
            heartbeat=self.health.new_heartbeat(f"{id_.kind.value} {id_}"),
            routes=OwnRoutes(self.routes),
            internal_telemetry=partial(self.internal_telemetry.exposition, page=str(id_)),
            logger=logger,
            clock=self.clock,
            paths=self.paths,
            resource=self.resource if resource is None else resource,
            unready=self.health.unready,
            privileged=self.privileged,
            finished=partial(self._on_finished, (id_, generation)),
            queues=self._queues,
        )

    def _queues(self) -> Mapping[ComponentId, SheddableQueue]:
        return self.graph.queues_in_memory()  # of the graph that runs when it is called

    def _on_finished(self, which: tuple[ComponentId, int], exit_code: int = 0) -> None:
        self._finished.add(which)
        self._stop_if_finished(exit_code)

    def _stop_if_finished(self, exit_code: int = 0) -> None:
        """Stop when all receivers or all exporters have finished; the last one sets the exit code."""
        for kind in _ENDS:
            if {(id_, self.graph.generation(id_)) for id_ in self.config.service.used(kind)} <= self._finished:
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

    def reload(self, config: Config, interruptible: Interruptible = nullcontext) -> ReloadPlan:
        """Run ``config`` from now on; what is equal lives on. Returns what has changed.

        Raises `SidecarError` if something cannot be created or started, and then runs on as before; see `Replacement`.
        """
        with interruptible():
            self._retiring.wait(Deadline.after(self.config.service.shutdown_timeout, self.clock))
        wanted, written = config.service.telemetry.resource, self.config.service.telemetry.resource
        resource = self.resource if wanted == written else detect_resource(wanted)
        planned = plan(self.config, config, self._used_extensions, rebuild=resource != self.resource)
        if planned.gone or planned.fresh or config.service.pipelines != self.config.service.pipelines:
            planned = self._replace(config, planned, resource, interruptible)
        self.config, self.resource = config, resource
        self._stop_if_finished()
        return planned

    def _replace(
        self,
        config: Config,
        planned: ReloadPlan,
        resource: Mapping[str, str],
        interruptible: Interruptible,
    ) -> ReloadPlan:
        graph = self._built(config, planned.kept, resource)
        planned = planned.with_users(lambda key: graph.made[key].extensions.used)
        restored = partial(self._built, self.config, self.graph.made.keys() - planned.first, self.resource)
        seconds = self.config.service.shutdown_timeout
        replacement = Replacement(self.graph, graph, planned, restored, seconds, self.clock)
        try:
            replacement.run(interruptible)
        finally:
            self.graph = replacement.running
        self._retiring.add(replacement.retire)
        return planned

    def _built(self, config: Config, kept: Collection[PartKey], resource: Mapping[str, str]) -> Graph:
        """The graph of another configuration, with these components of the running one."""
        self._generation += 1
        new_context = partial(self._context, generation=self._generation, resource=resource)
        return build(config, new_context, self.ledger, Predecessor(self.graph, kept, self._generation))

    def _used_extensions(self, key: PartKey) -> Collection[ComponentId]:
        return self.graph.made[key].extensions.used

    def shutdown(self) -> list[str]:
        """Drain and close everything within `shutdown_timeout`; returns messages about lost data."""
        self.health.stopping()
        seconds = self.config.service.shutdown_timeout
        end = Deadline.after(seconds, self.clock)
        closing = min(_CLOSING_SECONDS, seconds / 10)
        lost = self.graph.shutdown(seconds - closing, self.clock)
        self._retiring.wait(end.earlier(closing))
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
