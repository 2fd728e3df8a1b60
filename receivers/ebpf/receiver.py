# SPDX-License-Identifier: Apache-2.0
"""Receiver ``ebpf``: counts storage activity in the kernel and reads the counters at each interval.

Needs root, or CAP_BPF and CAP_PERFMON (and tracefs); no kernel headers. Built-in probes: ``page_cache``, ``block_io``
and ``syscalls``, which are loaded by default, and ``memory``, ``page_faults`` and ``block_waits``. If this kernel lacks
a hook, the metrics that need it are absent, never zero.

    receivers:
      ebpf: {collection_interval: 10s, probes: [page_cache, block_io, syscalls], group_by: [container, executable]}
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import partial

from ebpf_sidecar.pipeline.checks import Check, Examination
from ebpf_sidecar.pipeline.component import ComponentKind, Consumer, Factory, MapCleanup, Stability
from ebpf_sidecar.pipeline.host import Context
from ebpf_sidecar.pipeline.plugins import Plugins, hookimpl
from ebpf_sidecar.pipeline.privileged import RequiredPrivileges
from ebpf_sidecar.receivers.ebpf.kernel.reader_rights import LOADING, SEE_EXECUTABLES, rights_to_read
from ebpf_sidecar.receivers.ebpf.loading.own_hooks import NEW_CGROUPS_HOOK
from ebpf_sidecar.receivers.ebpf.loading.parent import LOADER
from ebpf_sidecar.receivers.ebpf.maps.loaded import HookStatus, LoadedProbes
from ebpf_sidecar.receivers.ebpf.probe.file import find_probes
from ebpf_sidecar.receivers.ebpf.watch.late_calls import MODULE as LATE_CALLS

from .collection import ProbeCollection, open_collection
from .metrics import DURATION, FORGOTTEN, LOADING_TOOK, MISSED, OVERFLOWED, metrics
from .settings import EbpfSettings

_WITHOUT = {NEW_CGROUPS_HOOK.name: "containers that live for less than an interval stay unknown"}
"""What is missing without a hook that belongs to no probe."""
_WITHOUT_OTHERS = "names of executables stay truncated to 15 bytes"


class EbpfReceiver:
    """Loads probes, then reads them at each interval in its own thread."""

    def __init__(self, settings: EbpfSettings, context: Context) -> None:
        self._settings, self._context = settings, context
        self._cleanup = MapCleanup()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._collection: ProbeCollection | None = None
        self._missed = 0
        self._duration = 0.0

    def clean_maps(self, cleanup: MapCleanup) -> None:
        """Follow ``cleanup`` from the next reading on."""
        self._cleanup = cleanup
        if self._collection is not None:
            self._collection.cleanup = cleanup

    def start(self, consumer: Consumer) -> None:
        """Load the probes and start reading. Raises `ProbeError`, which says what is missing and how to get it."""
        files = find_probes(Plugins().probe_folders())
        collection = open_collection(self._settings, files, self._cleanup, self._context)
        try:
            self._start_thread(collection, consumer)
        except BaseException:
            collection.close()
            raise

    def shutdown(self) -> None:
        """Read one last time, so that no counts are left in the kernel, then detach everything."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
        self._context.heartbeat.stop()

    def _start_thread(self, collection: ProbeCollection, consumer: Consumer) -> None:
        self._log_loaded(collection.loaded)
        self._publish(collection)
        self._context.heartbeat.expect(self._settings.collection_interval)
        thread = threading.Thread(
            target=self._run, args=(collection, consumer), name=f"receiver {self._context.id}", daemon=True
        )
        thread.start()
        self._collection = collection
        self._thread = thread  # only now there is a thread to join

    def _log_loaded(self, loaded: LoadedProbes) -> None:
        attached = sum(hook.attached for hook in loaded.hooks)
        self._context.logger.info(
            "attached %d of %d hooks of %s; %s",
            attached,
            len(loaded.hooks),
            ", ".join(self._settings.probes),
            "compiled at an earlier start" if loaded.kept else f"compiled in {loaded.compile_seconds:.2f}s",
        )
        for metric, reason in loaded.unavailable.items():
            message = 'metric %s is absent: %s (run "ebpf-sidecar doctor" for details)'
            self._context.logger.warning(message, metric, _in_brief(loaded, reason))
            self._context.logger.debug("metric %s is absent: %s", metric, reason)
        for hook in loaded.hooks:
            if not hook.attached and not any(hook.reason in reason for reason in loaded.unavailable.values()):
                message = "hook %s::%s is not attached (no metric is absent for it): %s"
                self._context.logger.warning(message, hook.probe, hook.hook, hook.in_brief)
        for missing, hook in _missing(loaded.own_hooks).items():
            self._context.logger.warning("hook %s: not attached (%s); %s", hook.hook, hook.reason, missing)

    def _publish(self, collection: ProbeCollection) -> None:
        observe, count = self._context.telemetry.observe, self._context.telemetry.count
        observe(*DURATION.instrument, lambda: self._duration)
        count(*MISSED.instrument, lambda: self._missed)
        observe(*LOADING_TOOK.instrument, lambda: collection.loaded.compile_seconds)
        observe(*OVERFLOWED.instrument, collection.rows_beyond_limit)
        count(*FORGOTTEN.instrument, collection.forgotten_rows)
        for reason in collection.losses():
            self._context.telemetry.lost(reason, partial(_loss, collection, reason))

    def _run(self, collection: ProbeCollection, consumer: Consumer) -> None:
        clock, interval = self._context.clock, self._settings.collection_interval
        due = clock.monotonic()
        try:
            while not clock.wait(self._stopped, due - clock.monotonic()):
                self._collect(collection, consumer)
                late = int((clock.monotonic() - due) / interval)
                self._missed += late
                due += (late + 1) * interval
            self._collect(collection, consumer)
        finally:
            collection.close()

    def _collect(self, collection: ProbeCollection, consumer: Consumer) -> None:
        """Read and pass on; an error is counted, and the next interval tries again."""
        clock = self._context.clock
        started = clock.monotonic()
        try:
            frames = collection.collect()
        except Exception as problem:  # noqa: BLE001 # a reading may fail in many ways, and the service must keep running
            self._context.telemetry.error("receiving", problem)
            return
        self._duration = clock.monotonic() - started
        self._context.telemetry.recovered("receiving")
        self._context.heartbeat.beat()
        consumer(frames)


def _missing(own_hooks: Sequence[HookStatus]) -> Mapping[str, HookStatus]:
    """What is missing because hooks that belong to no probe are not attached, each with the first hook it needs."""
    missing: dict[str, HookStatus] = {}
    for hook in own_hooks:
        if not hook.attached:
            missing.setdefault(_WITHOUT.get(hook.hook, _WITHOUT_OTHERS), hook)
    return missing


def _loss(collection: ProbeCollection, reason: str) -> int:
    return collection.losses()[reason]


def _in_brief(loaded: LoadedProbes, reason: str) -> str:
    """A metric's reason in brief: the short reasons of the hooks that it is composed of."""
    briefs = [hook.in_brief for hook in loaded.hooks if not hook.attached and hook.reason and hook.reason in reason]
    return ", ".join(dict.fromkeys(briefs)) or reason


@hookimpl
def register_components() -> Sequence[Factory]:
    """The receiver ``ebpf``."""
    return [
        Factory.receiver(
            "ebpf",
            EbpfReceiver,
            EbpfSettings,
            stability=Stability.BETA,
            description="page cache, block I/O, system calls and memory pressure, counted in the kernel",
            privileges=RequiredPrivileges((LOADER, LATE_CALLS), (*LOADING, SEE_EXECUTABLES), rights_to_read),
            metrics=metrics,
        )
    ]


@hookimpl
def register_checks() -> Sequence[Check]:
    """What the receiver needs from the machine."""
    return [Check(ComponentKind.RECEIVER, "ebpf", _examine)]


def _examine(settings: EbpfSettings) -> Examination:
    from ebpf_sidecar.receivers.ebpf.doctor.examination import examine  # noqa: PLC0415 # the service itself never needs it

    return examine(settings)
