# SPDX-License-Identifier: Apache-2.0
"""Which rights reading maps takes on this kernel: tried, since distributions take changes over from later kernels.

With kernel.unprivileged_bpf_disabled, kernels before 5.19 refuse every bpf(2) command to those without CAP_BPF, also on
descriptors that were handed to them; later ones refuse only what makes something new.
"""

from __future__ import annotations

import errno

from ebpf_sidecar.pipeline.process.capabilities import without_capabilities

from .bpf_syscall import info

LOADING = ("BPF", "PERFMON", "SYS_ADMIN", "SYS_RESOURCE", "DAC_READ_SEARCH")
"""What the loader and late calls may need: to mount tracefs or count runs SYS_ADMIN, which may be refused to us; before
5.11 SYS_RESOURCE; for another user than root DAC_READ_SEARCH, to read tracefs."""
SEE_EXECUTABLES = "SYS_PTRACE"
"""What it takes to see which programs other users' processes run, see running_programs.py."""
_NONE = 0xFFFFFFFF


def rights_to_read() -> tuple[str, ...]:
    """What has to be kept: asked about a descriptor that is none, the kernel says so to those it lets in at all.

    No map is made for it: before 5.11 that depends on how much memory all others of our user have locked.
    """
    try:
        with without_capabilities():
            return () if _let_in() else ("BPF",)
    except OSError:  # nothing can be given up here
        return ()


def _let_in() -> bool:
    try:
        info(_NONE, 16)
    except OSError as refusal:
        return refusal.errno != errno.EPERM
    return True
