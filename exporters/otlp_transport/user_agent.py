# SPDX-License-Identifier: Apache-2.0
"""How we introduce ourselves to servers."""

from importlib.metadata import version


def user_agent() -> str:
    """``ebpf-sidecar/1.2.3``, as RFC 9110 writes products."""
    return f"ebpf-sidecar/{version('ebpf-sidecar')}"
