# SPDX-License-Identifier: Apache-2.0
"""Exporter ``debug``: writes a pipeline's output to the terminal, to see what a configuration does.

``basic`` is one line per batch, ``normal`` one per point, ``detailed`` a table per metric with everything about it.
If the reader closes the pipe (``ebpf-sidecar run | head``), a service without other exporters exits with code 141.

    exporters:
      debug: {}
      debug/full: {verbosity: detailed, format: json, limit: 5}
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Literal

from pydantic import Field

from ebpf_sidecar.exporters.printing.json_lines import JsonLines
from ebpf_sidecar.exporters.printing.tables import Tables
from ebpf_sidecar.pipeline.component import Factory, Stability
from ebpf_sidecar.pipeline.errors import ExportError
from ebpf_sidecar.pipeline.frame import Frames
from ebpf_sidecar.pipeline.histogram_bounds import HistogramBounds, chosen
from ebpf_sidecar.pipeline.host import Context
from ebpf_sidecar.pipeline.output import OUTPUT_CLOSED, standard_output
from ebpf_sidecar.pipeline.plugins import hookimpl
from ebpf_sidecar.pipeline.settings import Settings
from ebpf_sidecar.pipeline.terminal import wants_colours


class DebugSettings(Settings):
    """What is written, and how much."""

    verbosity: Literal["basic", "normal", "detailed"] = "normal"
    """``basic``: one line per batch; ``normal``: one per point; ``detailed``: everything known about each metric."""
    format: Literal["table", "json"] = "table"
    """``table``: aligned columns for people; ``json``: one JSON object per line for programs."""
    limit: int = Field(default=20, ge=0)
    """The most points written per metric and batch, followed by how many more there were. 0: no limit."""
    histogram_bounds: HistogramBounds = "full"
    """Which buckets are written: ``full``, ``default`` or a list, as for the exporter ``prometheus``."""
    every: int = Field(default=1, ge=1)
    """Write only the first of every this many batches."""


class DebugExporter:
    """Writes to standard output. Batches that cannot be written count as failed, and the next one is tried again."""

    def __init__(self, settings: DebugSettings, context: Context) -> None:
        self._settings, self._context = settings, context
        self._batches = 0

    def export(self, frames: Frames) -> None:
        """Write the batch. Raises `ExportError`: part of the batch may have been written.

        If the reader has closed the pipe, the exporter has finished, which stops a service with no other exporter.
        """
        self._batches += 1
        if (self._batches - 1) % self._settings.every:
            return
        try:
            merged = [chosen(frame, self._settings.histogram_bounds) for frame in frames]
            self._write("".join(f"{line}\n" for line in self._lines(merged)))
        except BrokenPipeError as cause:
            self._context.finished(OUTPUT_CLOSED)
            raise ExportError("the reader of standard output has closed it") from cause
        except (OSError, ValueError) as cause:  # ValueError: Python's error for a file that was closed on our side
            why = getattr(cause, "strerror", None) or "it is closed"
            raise ExportError(f"standard output cannot be written: {why}") from cause

    def _lines(self, frames: Frames) -> Iterator[str]:
        settings = self._settings
        limit = settings.limit or sys.maxsize
        writer = JsonLines(limit) if settings.format == "json" else Tables(limit, colours=wants_colours(sys.stdout))
        how: dict[str, Callable[[Frames], Iterator[str]]] = {
            "basic": writer.basic,
            "normal": writer.normal,
            "detailed": writer.detailed,
        }
        return how[settings.verbosity](frames)

    @staticmethod
    def _write(text: str) -> None:
        """Raises `OSError`, and ValueError if it is closed."""
        output = standard_output()
        encoding = output.encoding or "utf-8"
        # a terminal that lacks a character, or a name that is not text, must not abort the batch
        output.write(text.encode(encoding, "backslashreplace").decode(encoding))
        output.flush()


FACTORY = Factory.exporter(
    "debug",
    DebugExporter,
    DebugSettings,
    stability=Stability.BETA,
    description="Writes metrics to the terminal as an aligned table or JSON lines",
)


@hookimpl
def register_components() -> tuple[Factory, ...]:
    """The exporter."""
    return (FACTORY,)
