# SPDX-License-Identifier: Apache-2.0
"""Environment variables as defaults for settings that the configuration does not have.

Those of the metrics signal come first (``OTEL_EXPORTER_OTLP_METRICS_ENDPOINT``), as the specification of the
OpenTelemetry protocol exporter says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_CERTIFICATE,
    OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE,
    OTEL_EXPORTER_OTLP_CLIENT_KEY,
    OTEL_EXPORTER_OTLP_COMPRESSION,
    OTEL_EXPORTER_OTLP_ENDPOINT,
    OTEL_EXPORTER_OTLP_HEADERS,
    OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE,
    OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE,
    OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY,
    OTEL_EXPORTER_OTLP_METRICS_COMPRESSION,
    OTEL_EXPORTER_OTLP_METRICS_ENDPOINT,
    OTEL_EXPORTER_OTLP_METRICS_HEADERS,
    OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE,
    OTEL_EXPORTER_OTLP_METRICS_TIMEOUT,
    OTEL_EXPORTER_OTLP_TIMEOUT,
)
from opentelemetry.util.re import parse_env_headers

_Names = tuple[str, ...]
_ENDPOINT: _Names = (OTEL_EXPORTER_OTLP_METRICS_ENDPOINT, OTEL_EXPORTER_OTLP_ENDPOINT)
_FILES: Mapping[str, _Names] = {
    "ca_file": (OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE, OTEL_EXPORTER_OTLP_CERTIFICATE),
    "cert_file": (OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE, OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE),
    "key_file": (OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY, OTEL_EXPORTER_OTLP_CLIENT_KEY),
}


def with_variables(written: Mapping[str, Any], environ: Mapping[str, str], *, http: bool) -> dict[str, Any]:
    """The settings as written, and those of the environment where none is written.

    Raises ValueError that names a variable whose value is not valid.
    """
    found = {name: value for name, value in _all(environ, http=http).items() if name not in written}
    if "endpoint" in written:
        found.pop("metrics_endpoint", None)  # what is written comes first, also where the variable is more specific
    files, tls = _files(environ), written.get("tls", {})
    if files and isinstance(tls, Mapping):
        return {**found, **written, "tls": {**files, **tls}}
    return {**found, **written}


def _all(environ: Mapping[str, str], *, http: bool) -> dict[str, Any]:
    found = {setting: parse(*hit) for setting, (names, parse) in _READ.items() if (hit := _first(environ, names))}
    return {**found, **_endpoint(environ, http=http)}


def _endpoint(environ: Mapping[str, str], *, http: bool) -> dict[str, str]:
    """The signal's own endpoint is used as it is; to the other one, HTTP adds a path."""
    hit = _first(environ, _ENDPOINT)
    if hit is None:
        return {}
    value, name = hit
    return {"metrics_endpoint" if http and name == OTEL_EXPORTER_OTLP_METRICS_ENDPOINT else "endpoint": value}


def _files(environ: Mapping[str, str]) -> dict[str, str]:
    return {setting: hit[0] for setting, names in _FILES.items() if (hit := _first(environ, names))}


def _first(environ: Mapping[str, str], names: _Names) -> tuple[str, str] | None:
    """The value and the name of the first variable that is set and not empty."""
    return next(((environ[name].strip(), name) for name in names if environ.get(name, "").strip()), None)


def _headers(value: str, name: str) -> dict[str, str]:
    found = parse_env_headers(value, liberal=True)
    if not found:
        raise ValueError(f'the variable {name} has no header; write "name=value,name=value"')
    return dict(found)


def _one_of(*choices: str) -> Callable[[str, str], str]:
    def parse(value: str, name: str) -> str:
        if value.lower() not in choices:
            raise ValueError(f'the variable {name} is "{value}"; use one of {", ".join(choices)}')
        return value.lower()

    return parse


def _milliseconds(value: str, name: str) -> str:
    if not value.isdecimal():
        raise ValueError(f'the variable {name} is "{value}"; write milliseconds, as in "10000"')
    return f"{value}ms"


_READ: Mapping[str, tuple[_Names, Callable[[str, str], Any]]] = {
    "headers": ((OTEL_EXPORTER_OTLP_METRICS_HEADERS, OTEL_EXPORTER_OTLP_HEADERS), _headers),
    "compression": (
        (OTEL_EXPORTER_OTLP_METRICS_COMPRESSION, OTEL_EXPORTER_OTLP_COMPRESSION),
        _one_of("none", "gzip", "deflate", "zstd"),
    ),
    "timeout": ((OTEL_EXPORTER_OTLP_METRICS_TIMEOUT, OTEL_EXPORTER_OTLP_TIMEOUT), _milliseconds),
    "temporality": ((OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE,), _one_of("cumulative", "delta", "lowmemory")),
}
