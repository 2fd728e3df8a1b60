# SPDX-License-Identifier: Apache-2.0
"""Plays a recording of real kernel data, for machines without eBPF or without the required privileges.

Its numbers are those of another machine: each frame's resource has ``ebpf_sidecar.replay = "true"``, the gauge
``ebpf.replay.info`` gives kernel and time of the recording, and a warning is logged at startup. Without settings it
plays the packaged recording in a loop; ``ebpf-sidecar record`` makes others.

    receivers:
      replay: {path: incident.recording, speed: 2, loop: false, at_end: stop}
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from ebpf_sidecar.pipeline.component import Consumer, Factory, Stability
from ebpf_sidecar.pipeline.frame import Frame
from ebpf_sidecar.pipeline.host import Context
from ebpf_sidecar.pipeline.metric_info import gauge
from ebpf_sidecar.pipeline.plugins import hookimpl
from ebpf_sidecar.pipeline.recording.file import Batch, Recording
from ebpf_sidecar.pipeline.rows import RowSet
from ebpf_sidecar.pipeline.settings import Interval, Settings
from ebpf_sidecar.pipeline.timeline import Timeline

from .replayed import Replayed

PACKAGED = Path(__file__).parent / "recordings" / "default.recording"
MARK = "ebpf_sidecar.replay"
INFO = gauge(
    "ebpf.replay.info",
    "",
    "1 while a recording is replayed: all numbers are those of the machine that it was made on",
    "kernel",
    "recorded_at",
)
_SHUTDOWN_SECONDS = 5.0


class ReplaySettings(Settings):
    """What to play, and how."""

    path: Path | None = None
    """The recording, a file made by ``ebpf-sidecar record``. Default: the packaged one."""
    speed: float = Field(default=1.0, ge=0.001, le=1_000_000, allow_inf_nan=False)
    """How many times faster than it was recorded."""
    loop: bool = True
    """Start again at the end; counters continue."""
    at_end: Literal["idle", "stop"] = "idle"
    """What happens at the end if ``loop`` is false. ``idle``: the service keeps running without new data; ``stop``: it
    drains and exits with code 0, once no other receiver runs."""
    collection_interval: Interval | None = None
    """Time between two batches, instead of the recorded one; ``speed`` applies to it as well."""

    @model_validator(mode="after")
    def _has_an_end(self) -> Self:
        if self.at_end == "stop" and self.loop:
            raise ValueError('at_end: "stop" has no effect while the recording loops; set loop: false')
        return self


class ReplayReceiver:
    """Reads a recording while playing it, so that memory does not depend on its length."""

    def __init__(self, settings: ReplaySettings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, consumer: Consumer) -> None:
        """Start playing. Raises `SidecarError` if the file cannot be read, is not a recording, or holds no data."""
        recording = Recording(self._settings.path or PACKAGED)
        header = recording.header
        message = "replaying a recording made on kernel %s at %s: these are not this machine's numbers"
        self._context.logger.warning(message, header.kernel, header.recorded_at)
        self._context.heartbeat.expect(self._pause(header.interval))
        name, arguments = f"receiver {self._context.id}", (recording, consumer)
        self._thread = threading.Thread(target=self._play, args=arguments, name=name, daemon=True)
        self._thread.start()

    def shutdown(self) -> None:
        """Stop; nothing is passed on afterwards."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(_SHUTDOWN_SECONDS)
        self._context.heartbeat.stop()

    def _play(self, recording: Recording, consumer: Consumer) -> None:
        clock = self._context.clock
        resource = {**self._context.resource, MARK: "true"}
        timeline = Timeline(clock, self._context.telemetry)
        replayed = Replayed(recording.started, timeline.now().time_unix_nano, self._settings.speed, resource)
        info = _info(recording, resource)
        due = clock.monotonic()
        for batch, pause in self._paced(recording, replayed):
            due += pause
            if clock.wait(self._stopped, due - clock.monotonic()):
                return
            if clock.monotonic() - due > pause:
                due = clock.monotonic()  # after the machine was suspended: no need to catch up
            now = timeline.now(replayed.newest_start)
            try:
                frames = replayed.frames(batch.frames, now)
            except Exception as problem:  # noqa: BLE001 # frames of a hand-made file may contradict each other; continue
                self._context.telemetry.error("receiving", problem)
                continue
            consumer([*frames, replace(info, time_unix_nano=now.time_unix_nano, monotonic_nano=now.monotonic_nano)])
            self._context.heartbeat.beat()

    def _paced(self, recording: Recording, replayed: Replayed) -> Iterator[tuple[Batch, float]]:
        """Batches, and the seconds to wait before each."""
        gap, more = 0.0, True
        while more:
            last = None
            for batch in recording.batches(self._damaged):
                if last is not None:
                    gap = batch.seconds_since(last)
                yield batch, self._pause(min(max(gap, 0.0), recording.header.interval))
                last = replace(batch, frames=())
            gap, more = recording.header.interval, self._settings.loop and last is not None
            replayed.again()
        if not self._settings.loop:
            self._context.heartbeat.stop()  # done; if the file is gone, health must show it
            self._context.logger.info("the recording has ended")
            if self._settings.at_end == "stop":
                self._context.finished()

    def _pause(self, recorded: float) -> float:
        return (recorded and (self._settings.collection_interval or recorded)) / self._settings.speed

    def _damaged(self, reason: str) -> None:
        self._context.telemetry.error("receiving", reason)


def _info(recording: Recording, resource: Mapping[str, str]) -> Frame:
    """The frame that says where the numbers come from, like Prometheus' info metrics."""
    header = recording.header
    rows = RowSet.of([{"kernel": header.kernel, "recorded_at": header.recorded_at}])
    return Frame(INFO.name, INFO.kind, rows, np.ones(1), 0, description=INFO.description, resource=resource)


@hookimpl
def register_components() -> Sequence[Factory]:
    """The receiver ``replay``."""
    return [
        Factory.receiver(
            "replay",
            ReplayReceiver,
            ReplaySettings,
            stability=Stability.BETA,
            description="Plays a recording of real kernel data, clearly marked, where eBPF is not available",
            metrics=lambda _: (INFO,),
        )
    ]
