# SPDX-License-Identifier: Apache-2.0
"""A request to read the configuration again, and what became of it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from ebpf_sidecar.pipeline.errors import SidecarError


@dataclass(eq=False)
class ReloadRequest:
    """``why``: who asked, for the log. ``done``: set when it was carried out or refused."""

    why: str
    done: threading.Event = field(default_factory=threading.Event)
    problem: SidecarError | None = None
    """Why the old configuration runs on; None if the new one does."""
    summary: str = ""
    """What has changed."""
