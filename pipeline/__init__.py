# SPDX-License-Identifier: Apache-2.0
"""Configuration, component graph and service life cycle. Knows no probe and no back end.

Everything that a component's author needs can be imported from here. Names are resolved on first use, so that the
short-lived loader child does not import NumPy.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # as type checkers read it; importing typing would slow down the start of the command
if TYPE_CHECKING:
    from typing import Any

    from .buckets import Buckets, ExplicitBuckets, ExponentialBuckets
    from .component import (
        Consumer,
        Exporter,
        Extension,
        Factory,
        OnFailure,
        OwnFolder,
        Processor,
        Receiver,
        Refusal,
        Sender,
        Stability,
    )
    from .endpoint import Endpoint, Listening, UrlPath
    from .errors import ConfigError, ExportError, FrameError, PluginError, ProbeError, RefusedError, SidecarError
    from .frame import Frame, Frames, Kind, Temporality
    from .hooks import hookimpl
    from .host import Context, Paths, Telemetry
    from .ids import ComponentKind
    from .payload import LeftOut, Payload, SendError
    from .push_settings import PushSettings
    from .rows import RowSet, Text, once_per_row_set
    from .settings import Duration, Interval, Settings, Within

_HOME = {
    "buckets": ("Buckets", "ExplicitBuckets", "ExponentialBuckets"),
    "component": (
        "Consumer",
        "Exporter",
        "Extension",
        "Factory",
        "OnFailure",
        "OwnFolder",
        "Processor",
        "Receiver",
        "Refusal",
        "Sender",
        "Stability",
    ),
    "endpoint": ("Endpoint", "Listening", "UrlPath"),
    "errors": ("ConfigError", "ExportError", "FrameError", "PluginError", "ProbeError", "RefusedError", "SidecarError"),
    "frame": ("Frame", "Frames", "Kind", "Temporality"),
    "hooks": ("hookimpl",),
    "host": ("Context", "Paths", "Telemetry"),
    "ids": ("ComponentKind",),
    "payload": ("LeftOut", "Payload", "SendError"),
    "push_settings": ("PushSettings",),
    "rows": ("RowSet", "Text", "once_per_row_set"),
    "settings": ("Duration", "Interval", "Settings", "Within"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Buckets",
    "ComponentKind",
    "ConfigError",
    "Consumer",
    "Context",
    "Duration",
    "Endpoint",
    "ExplicitBuckets",
    "ExponentialBuckets",
    "ExportError",
    "Exporter",
    "Extension",
    "Factory",
    "Frame",
    "FrameError",
    "Frames",
    "Interval",
    "Kind",
    "LeftOut",
    "Listening",
    "OnFailure",
    "OwnFolder",
    "Paths",
    "Payload",
    "PluginError",
    "ProbeError",
    "Processor",
    "PushSettings",
    "Receiver",
    "Refusal",
    "RefusedError",
    "RowSet",
    "SendError",
    "Sender",
    "Settings",
    "SidecarError",
    "Stability",
    "Telemetry",
    "Temporality",
    "Text",
    "UrlPath",
    "Within",
    "hookimpl",
    "once_per_row_set",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
