# SPDX-License-Identifier: Apache-2.0
"""The privilege settings of the service section."""

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
        raise ValueError(f'"{text}" is not a capability{hint}')
    return name


class PrivilegeSettings(Settings):
    """The privileges that the service drops before it starts."""

    drop: bool = True
    """Permanently drop every capability that no component needs; a small broker process performs operations that need
    more. Without this, ``seccomp`` has no effect either."""
    keep: tuple[Annotated[str, AfterValidator(_capability)], ...] = ()
    """Capabilities to keep anyway, as in ``[NET_BIND_SERVICE]`` for ports below 1024."""
    seccomp: bool = True
    """Refuse system calls that the service never makes; set to false for a plugin that needs one of them."""
