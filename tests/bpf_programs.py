# SPDX-License-Identifier: Apache-2.0
"""BPF programs as the kernel lists them; shared by tests of several folders."""

import re
import struct
from contextlib import suppress
from pathlib import Path

from ebpf_sidecar.receivers.ebpf.kernel.bpf_syscall import kernel_call

PROG_GET_NEXT_ID = 11  # enum bpf_cmd in include/uapi/linux/bpf.h


def programs_of(pid):
    """The ids of the BPF programs that a process holds."""
    found = set()
    for path in Path(f"/proc/{pid}/fdinfo").iterdir():
        with suppress(FileNotFoundError):  # it opens and closes other files meanwhile
            found |= {int(number) for number in re.findall(r"prog_id:\s*(\d+)", path.read_text())}
    return found


def exists(program):
    """Whether the kernel has a BPF program with that id."""
    attributes = bytearray(struct.pack("III", program - 1, 0, 0))
    return kernel_call(PROG_GET_NEXT_ID, attributes) == 0 and struct.unpack_from("III", attributes)[1] == program
