# SPDX-License-Identifier: Apache-2.0
"""The probes that come with the product: pairs of <probe>.c and <probe>.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ebpf_sidecar.pipeline.plugins import hookimpl


@hookimpl
def register_probes() -> Sequence[Path]:
    """Name the folder of our own probe pairs."""
    return [Path(__file__).parent]
