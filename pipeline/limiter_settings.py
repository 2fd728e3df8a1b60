# SPDX-License-Identifier: Apache-2.0
"""The setting of a processor that refuses batches and gives up queued ones when the service runs out of memory."""

from __future__ import annotations

from .ids import ComponentId, ComponentKind
from .settings import Settings

_SECTION = f"{ComponentKind.EXPORTER.section}/"


class LimiterSettings(Settings):
    """What every limiter has; `check` compares it with the exporters, and wants limiters first in their pipelines."""

    shed: tuple[str, ...] = ()
    """The queues that are given up at the hard limit, in this order, as ``exporters/<id>``: the oldest batches of the
    first until memory is below the soft limit, then those of the next. Only queues in memory can be listed."""

    def queues(self) -> list[ComponentId]:
        """The exporters in ``shed``."""
        return [ComponentId.parse(ComponentKind.EXPORTER, name.removeprefix(_SECTION)) for name in self.shed]


def queue_name(exporter: ComponentId) -> str:
    """The queue of an exporter, as it is written in ``shed``."""
    return f"{_SECTION}{exporter}"
