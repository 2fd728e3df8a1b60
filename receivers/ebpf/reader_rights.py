# SPDX-License-Identifier: Apache-2.0
"""Which rights reading maps takes on this kernel: tried, since distributions take changes over from later kernels.

With kernel.unprivileged_bpf_disabled, kernels before 5.19 refuse every bpf(2) command to those without CAP_BPF, also on
descriptors that were handed to them; later ones refuse only what makes something new.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct

from ...pipeline.capabilities import without_any
from .bpf_call import BPF_NUMBER, Command, element, kernel_call

LOADING = ("BPF", "PERFMON", "SYS_ADMIN", "SYS_RESOURCE", "DAC_READ_SEARCH")
"""What the loader and late calls may need: to mount tracefs or count runs SYS_ADMIN, which may be refused to us; before
5.11 SYS_RESOURCE; for another user than root DAC_READ_SEARCH, to read tracefs."""
_ARRAY, _CREATE = 2, 0
_ATTRIBUTES = 128


def rights_to_read() -> tuple[str, ...]:
    """What has to be kept. Where no map can be made nothing will be read either."""
    made = _make_map()
    if made < 0:
        return ()
    try:
        return () if _can_read(made) else ("BPF",)
    except OSError:  # nothing can be given up here
        return ()
    finally:
        os.close(made)


def _can_read(descriptor: int) -> bool:
    key, value = ctypes.c_uint32(0), ctypes.c_uint64(0)
    with without_any():
        return element(kernel_call, Command.UPDATE, descriptor, ctypes.addressof(key), ctypes.addressof(value)) == 0


def _make_map() -> int:
    """The descriptor of a map with one element; negative when that is refused."""
    attributes = ctypes.create_string_buffer(struct.pack("<IIII", _ARRAY, 4, 8, 1), _ATTRIBUTES)
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.syscall(BPF_NUMBER[platform.machine()], _CREATE, attributes, _ATTRIBUTES))
