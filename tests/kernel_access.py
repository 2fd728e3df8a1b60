# SPDX-License-Identifier: Apache-2.0
"""Whether tests can load eBPF programs here."""

import functools
import importlib.util
import os

from mounts import why_no_tracefs

from ebpf_sidecar.receivers.ebpf.kernel.refusals import before_loading, own_privileges
from ebpf_sidecar.receivers.ebpf.kernel.tracefs import find_tracefs


@functools.cache
def why_no_ebpf():
    """Why the kernel cannot be measured here; empty when it can. Tests are then skipped with this reason."""
    if os.geteuid() != 0:
        return "not root"
    if importlib.util.find_spec("bcc") is None:
        return "BCC for Python is not installed (python3-bpfcc)"
    certain = before_loading(own_privileges())
    if certain:
        return certain.message
    return "" if find_tracefs() else why_no_tracefs()
