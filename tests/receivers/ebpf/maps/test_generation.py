# SPDX-License-Identifier: Apache-2.0
"""The generation that keys carry, without a kernel."""

import pytest

from ebpf_sidecar.pipeline.errors import ProbeError
from ebpf_sidecar.receivers.ebpf.maps.generation import Generation


class Control:
    """The kernel's array, which may refuse."""

    def __init__(self):
        self.written, self.refuses = [], False

    def write(self, key, value):
        if self.refuses:
            raise ProbeError("cannot write")
        self.written.append((key, value))


def test_a_generation_that_the_kernel_refuses_is_not_used():
    """Programs continue with the old one: retiring the other would remove unread entries."""
    control = Control()
    generation = Generation(control)
    control.refuses = True
    with pytest.raises(ProbeError):
        generation.flip()
    control.refuses = False

    assert 0 == generation.current
    assert [0, 1] == [generation.flip(), generation.flip()]
    assert [(0, 1), (0, 0)] == control.written
