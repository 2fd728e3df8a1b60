# SPDX-License-Identifier: Apache-2.0
"""Decides when the eBPF receiver empties its kernel maps; the data itself passes unchanged.

Kernel maps have a fixed size. On a machine where many processes come and go they fill up, and events of new processes
are lost (counted and reported, but lost). Put this processor first in a pipeline to choose what the pipeline's
receivers do about it:

* ``keep_recent`` (the default): entries that have not changed for ``stale_after`` are removed. Right for nearly all
  machines: rows of idle and dead processes make room, the working set stays.
* ``clear_after_read``: the maps are emptied at the first read at least ``cleanup_interval`` after the last clearing.
  Smallest kernel memory; for machines with very many short-lived processes.
* ``no_cleanup``: nothing is removed; a full map is reported. For debugging, or a fixed set of processes.

Removal is exact: new events go to a new generation of the map; the old one is read once no kernel program can write to
it any more, and then deleted. No strategy makes a counter decrease: the receiver keeps the totals and adds the counts
of each generation, and rows stay there until they expire.

    processors:
      map_cleanup: {cleanup_strategy: clear_after_read, cleanup_interval: 30s}
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from ebpf_sidecar.pipeline.component import Factory, MapCleanup, Stability
from ebpf_sidecar.pipeline.frame import Frames
from ebpf_sidecar.pipeline.host import Context
from ebpf_sidecar.pipeline.plugins import hookimpl
from ebpf_sidecar.pipeline.settings import Interval, Settings


class CleanupStrategy(StrEnum):
    """What is removed from kernel maps, and when."""

    CLEAR_AFTER_READ = "clear_after_read"
    KEEP_RECENT = "keep_recent"
    NO_CLEANUP = "no_cleanup"


class MapCleanupSettings(Settings):
    """When kernel maps are emptied."""

    cleanup_strategy: CleanupStrategy = CleanupStrategy.KEEP_RECENT
    """``keep_recent`` removes entries idle for ``stale_after``, ``clear_after_read`` empties the maps after a read,
    ``no_cleanup`` removes nothing."""
    cleanup_interval: Interval = 30.0
    """Minimum time between two cleanups. A cleanup happens with a read, so a longer collection interval applies."""
    stale_after: Interval = 300.0
    """How long an entry must be unchanged before ``keep_recent`` removes it; other strategies ignore it."""


def _cleanup(settings: MapCleanupSettings) -> MapCleanup:
    return MapCleanup(settings.cleanup_strategy.value, settings.cleanup_interval, settings.stale_after)


class MapCleanupProcessor:
    """Passes frames on and requests a cleanup upstream, see `UpstreamRequest`."""

    def __init__(self, settings: MapCleanupSettings, context: Context) -> None:  # noqa: ARG002 # the factory's contract
        self._cleanup = _cleanup(settings)

    @property
    def map_cleanup(self) -> MapCleanup:
        """What the receivers of this pipeline should do; the graph passes it to them before they start."""
        return self._cleanup

    def process(self, frames: Frames) -> Frames:
        """The unchanged frames."""
        return frames


@hookimpl
def register_components() -> Sequence[Factory]:
    """The processor ``map_cleanup``."""
    description = "Empties kernel maps by a strategy: clear_after_read, keep_recent or no_cleanup"
    return [
        Factory.processor(
            "map_cleanup",
            MapCleanupProcessor,
            MapCleanupSettings,
            stability=Stability.BETA,
            description=description,
            claims=lambda settings: [_cleanup(settings)],
        )
    ]
