# SPDX-License-Identifier: Apache-2.0
"""A configuration that changes again and again: a processor goes, the page is replaced, a sender comes, all returns."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .service import Sidecar, total

PIPELINE = "service: {{pipelines: {{metrics: {{processors: [{}], exporters: [{}]}}}}}}\n"
WHOLE = PIPELINE.format("map_cleanup, container, rate", "prometheus")
CONFIGS = (
    WHOLE,
    PIPELINE.format("map_cleanup, container", "prometheus"),
    WHOLE + "exporters: {prometheus: {send_timestamps: true}}\n",
    PIPELINE.format("map_cleanup, container, rate", "prometheus, otlphttp")
    + "exporters: {otlphttp: {endpoint: 'http://127.0.0.1:9'}}\n",
)


@dataclass
class Reloads:
    """Reloads a service from ``file``, which is one of its configurations."""

    file: Path
    number: int = 0

    def next(self, service: Sidecar) -> None:
        """Write the next configuration, and have it read."""
        self.number += 1
        self.file.write_text(CONFIGS[self.number % len(CONFIGS)], encoding="utf-8")
        service.process.send_signal(signal.SIGHUP)

    @staticmethod
    def refused(page: str) -> bool:
        """Whether the last one was."""
        return not total(page, "ebpf_sidecar_config_last_reload_successful")


@contextmanager
def reloads() -> Iterator[Reloads]:
    """With a file for as long as they are needed."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "reloaded.yaml")
        file.write_text(CONFIGS[0], encoding="utf-8")
        yield Reloads(file)
