# SPDX-License-Identifier: Apache-2.0
"""Recording: runs the receivers of a configuration for a while and writes their output to a file.

The file contains the raw frames, before any processor, so that a replay passes through the pipelines like live data.
See `file` for the format, and the receiver ``replay`` for reading it.
"""

from __future__ import annotations

import os
import platform
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ebpf_sidecar.pipeline.clock import Clock, SystemClock
from ebpf_sidecar.pipeline.component import ComponentId, ComponentKind, Factory
from ebpf_sidecar.pipeline.config.load import Config, ConfiguredComponent, PipelineId, PipelineSettings
from ebpf_sidecar.pipeline.errors import ExportError, SidecarError
from ebpf_sidecar.pipeline.frame import Frame, Frames
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.rows import RowSet, once_per_row_set
from ebpf_sidecar.pipeline.running.service import Service
from ebpf_sidecar.pipeline.running.stop_request import StopRequest
from ebpf_sidecar.pipeline.settings import Settings
from ebpf_sidecar.pipeline.telemetry import logs

from .file import Header, RecordingWriter

_FILE = ComponentId(ComponentKind.EXPORTER, "recording")
_KEPT = ("os.", "host.arch", "service.name", "service.version")
_REPORTS = 10
"""How often progress is reported in total."""
_INTERVAL = 10.0
"""Used for receivers without a collection interval."""
_ID_SHIFT = 0x9E3779B97F4A7C15
"""The offset between row ids of two receivers in a recording (2⁶⁴ / golden ratio: its multiples are far apart)."""


@dataclass
class RecordingExporter:
    """Writes frames to a file, which is created with the first frames: a failed start leaves no file behind.

    Resource attributes that identify a machine, a person or a process are not written, because recordings are shared.
    A replay is a single receiver, so the rows of several recorded receivers get distinct ids.
    """

    path: Path | None
    """None: standard output."""
    interval: float
    clock: Clock
    batches: int = 0
    problem: SidecarError | None = None
    """Why recording has stopped."""
    over: threading.Event = field(default_factory=threading.Event)
    """Set when there is no point in waiting: there is a problem, or all receivers have finished."""
    _writer: RecordingWriter | None = None
    _rows: dict[ComponentId | None, Callable[[RowSet], RowSet]] = field(default_factory=dict)

    def export(self, frames: Frames) -> None:
        """Write a batch. Raises `ExportError` if the file cannot be written."""
        public = [self._public(frame) for frame in frames]
        if not public:
            return
        try:
            if self._writer is None:
                self._writer = RecordingWriter(self.path, self._header(dict(public[0].resource)))
            self._writer.write(public)
            self.batches += 1
        except (SidecarError, ValueError) as problem:
            self.problem = problem if isinstance(problem, SidecarError) else SidecarError(str(problem))
            self.over.set()
            raise ExportError(str(problem)) from problem

    def _public(self, frame: Frame) -> Frame:
        rows_of = self._rows.setdefault(frame.source, _shifted(len(self._rows)))
        return replace(frame, resource=_public(frame.resource), rows=rows_of(frame.rows))

    def shutdown(self) -> None:
        """Complete the file; a failure becomes the ``problem``, unless there is one already."""
        if self._writer is not None:
            try:
                self._writer.close()
            except SidecarError as problem:
                self.problem = self.problem or problem

    def _header(self, resource: Mapping[str, str]) -> Header:
        recorded_at = datetime.fromtimestamp(self.clock.time_ns() // 10**9, UTC).isoformat()
        return Header(
            version("ebpf-sidecar"), platform.release(), platform.machine(), recorded_at, self.interval, resource
        )


def _shifted(receiver: int) -> Callable[[RowSet], RowSet]:
    """How rows are written: those of the first receiver (0) unchanged, others with shifted ids."""
    shift = np.uint64(receiver * _ID_SHIFT % 2**64)
    return once_per_row_set(lambda rows: RowSet(rows.ids + shift, rows.columns) if receiver else rows)


def _public(resource: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in resource.items() if name.startswith(_KEPT)}


def record(
    config: Config,
    output: Path | None,
    seconds: float,
    *,
    plugins: Plugins,
    progress: Callable[[str], None],
    clock: Clock | None = None,
) -> None:
    """Run only the receivers of ``config`` for ``seconds`` and record to the file ``output``, or to standard output.

    ``progress`` is called with progress messages. An interrupt (Ctrl-C) stops the recording early and keeps it, and so
    does the end of all receivers' data.
    Raises `SidecarError` if a receiver cannot start, the file cannot be written, or nothing arrived.
    """
    del plugins  # already used when the configuration was read
    _check_writable(output)
    logging_as = config.service.telemetry.logs
    logs.configure(logging_as.level, logging_as.encoding, secrets=config.secrets)
    clock = clock or SystemClock()
    exporter = RecordingExporter(output, _interval(config), clock)
    service = Service(_recording_only(config, exporter), clock, stop_request=StopRequest(exporter.over))
    service.start()
    try:
        _watch(exporter, seconds, progress)
    except KeyboardInterrupt:
        progress("interrupted: the recording so far is kept")
    finally:
        service.shutdown()
    if exporter.problem:
        raise exporter.problem
    if not exporter.batches:
        raise SidecarError(f"nothing arrived within {seconds:g}s; record for longer than the collection interval")
    into = f"{output} ({output.stat().st_size / 1000:.0f} kB)" if output else "standard output"
    progress(f"recorded {exporter.batches} batches into {into}")


def _check_writable(output: Path | None) -> None:
    """Check before probes are attached in vain."""
    if output is None:
        if sys.stdout is None or sys.stdout.isatty():
            found = "is closed" if sys.stdout is None else "is a terminal, and a recording is not text"
            raise SidecarError(f"recording to standard output: it {found}; redirect it to a file or a program")
        return
    target = output if output.exists() else output.parent
    if output.is_dir() or not os.access(target, os.W_OK):
        raise SidecarError(f'recording "{output}": cannot be written; choose a file in a folder that you may write to')


def _interval(config: Config) -> float:
    intervals = [getattr(made.settings, "collection_interval", None) for made in _receivers(config).values()]
    return min((interval for interval in intervals if isinstance(interval, float)), default=_INTERVAL)


def _receivers(config: Config) -> dict[ComponentId, ConfiguredComponent]:
    used = config.service.used(ComponentKind.RECEIVER)
    return {id_: configured for id_, configured in config.receivers.items() if id_ in used}


def _recording_only(config: Config, exporter: RecordingExporter) -> Config:
    """A configuration with the receivers in use and the recording exporter."""
    factory = Factory(ComponentKind.EXPORTER, _FILE.type, lambda _settings, _context: exporter)
    receivers = _receivers(config)
    pipelines = {PipelineId("recording"): PipelineSettings(tuple(receivers), (), (_FILE,))}
    return Config(
        receivers=receivers,
        processors={},
        exporters={_FILE: ConfiguredComponent(factory, Settings())},
        extensions={},
        service=replace(config.service, pipelines=pipelines, extensions=()),
    )


def _watch(exporter: RecordingExporter, seconds: float, progress: Callable[[str], None]) -> None:
    progress(f"recording for {seconds:g}s; Ctrl-C stops it early")
    for step in range(1, _REPORTS + 1):
        if exporter.clock.wait(exporter.over, seconds / _REPORTS):
            return
        progress(f"{seconds * step / _REPORTS:g}s of {seconds:g}s, {exporter.batches} batches")
