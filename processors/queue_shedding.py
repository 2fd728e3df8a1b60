# SPDX-License-Identifier: Apache-2.0
"""Gives up queued batches in the order that a limiter's settings declare."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ebpf_sidecar.pipeline.host import SheddableQueue

_LEAST = 1 << 20
"""Bytes to give up at once: what others still hold does not become free, and each look at memory takes time."""


def shed(queues: Iterable[SheddableQueue], limit: int, used: Callable[[], int], release: Callable[[], None]) -> int:
    """Give up queues, in order, until the bytes in use are below ``limit``; returns those."""
    now = used()
    for queue in queues:
        while now >= limit and queue.shed(max(now - limit + 1, _LEAST)):
            release()
            now = used()
    return now
