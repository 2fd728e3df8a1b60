# SPDX-License-Identifier: Apache-2.0
"""Waiting for what a service, or the kernel, does in its own time."""

import time


def until(condition, seconds=60):
    """The result of a condition once it is true, or when the time is up."""
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found
