# SPDX-License-Identifier: Apache-2.0
"""Waits for BPF programs that are running in the kernel."""

from __future__ import annotations

import os
import platform

from .system_call import system_call

_GLOBAL = 1
STORES_IN_ORDER = platform.machine() in ("x86_64", "i686")
"""Whether every CPU sees this CPU's writes in program order."""


def wait_for_programs() -> bool:
    """Wait until every BPF program that is running now has ended; False if the kernel offers no way to wait.

    membarrier(GLOBAL) is synchronize_rcu() for user space, and programs run inside RCU's read side. With one CPU it
    returns at once, and with nohz_full it is refused.
    """
    if (os.cpu_count() or 1) < 2:
        return False
    try:
        system_call("membarrier", _GLOBAL)
    except OSError:
        return False
    return True
