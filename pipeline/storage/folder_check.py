# SPDX-License-Identifier: Apache-2.0
"""Whether the service may write to a folder, for ``ebpf-sidecar doctor``."""

from __future__ import annotations

import os
from pathlib import Path

from ebpf_sidecar.pipeline.checks import Finding, FindingVerdict
from ebpf_sidecar.pipeline.process.capabilities import without_capabilities

_AREA = "storage"


def examined(path: Path) -> Finding:
    """A finding about the folder, or about the one in which it would be created, for this user without privileges."""
    existing = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
    with without_capabilities():
        writable = os.access(existing, os.R_OK | os.W_OK | os.X_OK, effective_ids=True)
    if not writable:
        found = f"{existing} cannot be written by user {os.geteuid()} without capabilities"
        return Finding(_AREA, str(path), FindingVerdict.PROBLEM, found, f"chown {os.geteuid()} {existing}")
    disk = os.statvfs(existing)
    free = disk.f_bavail * disk.f_frsize / 1e9
    return Finding(_AREA, str(path), FindingVerdict.OK, f"can be written, {free:.1f} GB are free")
