# SPDX-License-Identifier: Apache-2.0
"""What the service section says about rights."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from ebpf_sidecar.pipeline.process.capabilities import NAMES
from ebpf_sidecar.pipeline.settings import Settings
from ebpf_sidecar.pipeline.suggestions import did_you_mean


def _capability(text: str) -> str:
    name = text.upper().removeprefix("CAP_")
    if name not in NAMES:
        hint = did_you_mean(name, NAMES) or "; see capabilities(7)"
        raise ValueError(f'"{text}" is no capability{hint}')
    return name


class PrivilegeSettings(Settings):
    """Which rights the service gives up once it is about to start."""

    drop: bool = True
    """Give up every capability that no component needs, for good; what needs more is done by a small process beside.
    Without this, ``seccomp`` has no effect either."""
    keep: tuple[Annotated[str, AfterValidator(_capability)], ...] = ()
    """Capabilities to keep nevertheless, as in ``[NET_BIND_SERVICE]`` for ports below 1024."""
    seccomp: bool = True
    """Refuse system calls that a service does not make; false for a plugin that makes one of them."""
