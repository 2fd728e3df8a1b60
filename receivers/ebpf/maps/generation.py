# SPDX-License-Identifier: Apache-2.0
"""Clears maps without losing what is being counted at the same time.

Programs copy a generation bit from the ``control`` map into their keys. After `Generation.flip` new events go to new
entries; once all programs that were running have ended, the old entries can no longer change, and are read one last
time and removed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ebpf_sidecar.receivers.ebpf.kernel.membarrier import wait_for_programs

from .kernel_map import KernelMap


@dataclass
class Generation:
    """The generation in keys. ``control``: the map that holds it."""

    control: KernelMap
    wait: Callable[[], bool] = field(default=wait_for_programs, repr=False)
    current: int = 0

    def flip(self) -> int:
        """Start the next generation and return the retired one; remove all its entries before the next flip."""
        retired, following = self.current, 1 - self.current
        self.control.write(0, following)
        self.current = following  # only now: if the kernel refuses, programs continue as before
        return retired

    def settled(self) -> bool:
        """Wait until the retired generation is frozen; False if it may not be yet: use it one interval later."""
        return self.wait()
