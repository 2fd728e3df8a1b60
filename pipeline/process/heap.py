# SPDX-License-Identifier: Apache-2.0
"""The C library's heap: one for all threads, and unused memory returned to the kernel (glibc only)."""

from __future__ import annotations

from contextlib import suppress

from .libc import libc_call

_ARENA_MAX = -8  # from malloc.h


def use_one_heap() -> None:
    """Let all threads share one heap (mallopt(3)). Call it before threads start.

    Otherwise each thread that has ever rendered a page keeps memory for one; the GIL serializes allocations anyway.
    """
    with suppress(OSError):
        libc_call("mallopt", _ARENA_MAX, 1)


def release_free_memory() -> None:
    """Return free pages of the heap to the kernel (malloc_trim(3)).

    Rendering a large page leaves free memory between long-lived objects, which glibc would keep for ever.
    """
    with suppress(OSError):
        libc_call("malloc_trim", 0)
