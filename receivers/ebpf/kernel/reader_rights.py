# SPDX-License-Identifier: Apache-2.0
"""Which capabilities reading maps needs on this kernel: determined by trying, since distributions backport changes.

With kernel.unprivileged_bpf_disabled, kernels before 5.19 refuse every bpf(2) command without CAP_BPF, also on
inherited descriptors; later ones refuse only commands that create objects.
"""

from __future__ import annotations

import errno

from ebpf_sidecar.pipeline.process.capabilities import without_capabilities

from .bpf_syscall import info

LOADING = ("BPF", "PERFMON", "SYS_ADMIN", "SYS_RESOURCE", "DAC_READ_SEARCH")
"""What the loader and late calls may need: SYS_ADMIN to mount tracefs or count runs, which we may not have;
SYS_RESOURCE before 5.11; DAC_READ_SEARCH to read tracefs as a user other than root."""
SEE_EXECUTABLES = "SYS_PTRACE"
"""What is needed to see which programs other users' processes run, see running_programs.py."""
_NONE = 0xFFFFFFFF


def rights_to_read() -> tuple[str, ...]:
    """The capabilities to keep: asked about an invalid descriptor, the kernel answers EBADF only to callers with
    permission.

    No map is created for this: before 5.11 that depends on how much memory our user's other processes have locked.
    """
    try:
        with without_capabilities():
            return () if _let_in() else ("BPF",)
    except OSError:  # nothing can be dropped here
        return ()


def _let_in() -> bool:
    try:
        info(_NONE, 16)
    except OSError as refusal:
        return refusal.errno != errno.EPERM
    return True
