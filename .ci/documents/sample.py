# SPDX-License-Identifier: Apache-2.0
"""A few lines of ``/metrics``, from the packaged recording through the pipeline of configs/replay.yaml.

The page is that after a minute: at the recording's very end nothing is read any more, so there is no hit rate. No clock
of this machine has a part in it: the receiver's clock advances whenever something waits for it, so a minute is played
at once, and always with the same numbers.
"""

from __future__ import annotations

import logging
import re
import tempfile
import threading
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from ebpf_sidecar.pipeline.component import ComponentId, ComponentKind
from ebpf_sidecar.pipeline.config.load import load
from ebpf_sidecar.pipeline.host import Context, Request
from ebpf_sidecar.pipeline.recording.file import Recording, RecordingWriter
from ebpf_sidecar.pipeline.running.graph import build
from ebpf_sidecar.pipeline.telemetry.ledger import Ledger
from ebpf_sidecar.pipeline.testing import NOON, FakeClock, RecordedHeartbeat, RecordedRoutes, fake_context
from ebpf_sidecar.receivers.replay import PACKAGED

from .text import block
from .tree import ROOT, plugins

_ONCE = ("receivers.replay.loop=false",)
_PATIENCE_SECONDS, _SECONDS = 120.0, 60
_MISSES = re.compile(r'ebpf_cache_misses_total\{.*process_executable_name="([^"]*)".*\} ([0-9.e+]+)')
_SHOWN_SERIES = '^ebpf_(cache_(hit|misses|read)|block_io_duration_seconds_(sum|count).*"read").*"{name}"'
_LONG_ID = "([0-9a-f]{8})[0-9a-f-]{28,}"

logging.getLogger("ebpf_sidecar.test").addHandler(logging.NullHandler())  # that a recording is played is known here


class _AcceleratedClock(FakeClock):
    """A clock on which waiting takes no time, and time passes all the same."""

    def wait(self, stopped: threading.Event, seconds: float) -> bool:
        self.advance(max(0.0, seconds))
        return stopped.is_set()


@dataclass
class _UntilSilent(RecordedHeartbeat):
    """Reports when no more beats will come: the recording has ended."""

    silent: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        super().stop()
        self.silent.set()


def page() -> str:
    """The whole page after the first minute of the recording, in text format."""
    with tempfile.TemporaryDirectory() as folder:
        minute = Path(folder) / "minute.recording"
        _copy_minute(minute)
        return _page_of(minute)


def _copy_minute(path: Path) -> None:
    recording = Recording(PACKAGED)
    writer = RecordingWriter(path, recording.header)
    for batch in islice(recording.batches(logging.error), round(_SECONDS / recording.header.interval) + 1):
        writer.write(batch.frames)
    writer.close()


def _page_of(recording: Path) -> str:
    config = load([ROOT / "configs" / "replay.yaml"], (*_ONCE, f"receivers.replay.path={recording}"), plugins(), {})
    routes, heartbeat, hurrying = RecordedRoutes(), _UntilSilent(), _AcceleratedClock(NOON)

    def context(id_: ComponentId) -> Context:
        # the exporter's own clock stands still, so that it does not matter when its thread is scheduled
        clock = FakeClock(NOON) if id_.kind is ComponentKind.EXPORTER else hurrying
        return fake_context(id_.kind, str(id_), clock=clock, routes=routes, heartbeat=heartbeat)

    graph = build(config, context, Ledger())
    graph.start()
    [handler] = routes.handlers.values()
    if not heartbeat.silent.wait(_PATIENCE_SECONDS):
        raise TimeoutError("the recording does not end")
    graph.shutdown(_PATIENCE_SECONDS)
    return handler(Request("GET", "/metrics", {})).body.decode()


@block
def sample() -> str:
    """A command as a user types it, and what it prints."""
    text = page()
    asked = _SHOWN_SERIES.replace("{name}", _busiest(text))
    lines = [re.sub(_LONG_ID, r"\1…", line) for line in text.splitlines() if re.search(asked, line)]
    shown = ["$ curl -s 127.0.0.1:18080/metrics |", f"    grep -E '{asked}' |", f"    sed -E 's/{_LONG_ID}/\\1…/g'"]
    return "\n".join(["```console", *shown, *lines, "```"])


def _busiest(text: str) -> str:
    """The executable with the most misses: one with meaningful numbers, whatever was recorded."""
    return str(max(_MISSES.findall(text), key=lambda found: float(found[1]))[0])
