# SPDX-License-Identifier: Apache-2.0
"""Clearing maps without losing what is being counted at that moment.

Programs copy a generation bit from the ``control`` map into their keys. After `Generation.flip` new events go to new
entries; once all programs that were running have ended, the old entries cannot change any more and are read for
the last time and removed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ebpf_sidecar.receivers.ebpf.kernel.membarrier import wait_for_programs

from .kernel_map import KernelMap


@dataclass
class Generation:
    """The generation that keys carry. ``control``: the map behind it."""

    control: KernelMap
    wait: Callable[[], bool] = field(default=wait_for_programs, repr=False)
    current: int = 0

    def flip(self) -> int:
        """Begin the next generation; the retired one is returned: remove all its entries before the next flip."""
        retired, following = self.current, 1 - self.current
        self.control.write(0, following)
        self.current = following  # only now: where the kernel refuses, programs go on as before
        return retired

    def settled(self) -> bool:
        """Wait until the retired generation is frozen; False: it may not be, take it one interval later."""
        return self.wait()
