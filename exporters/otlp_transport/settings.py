# SPDX-License-Identifier: Apache-2.0
"""The settings of the exporters ``otlp`` and ``otlphttp``, with the OpenTelemetry Collector's names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from ebpf_sidecar.pipeline.histogram_bounds import HistogramBounds
from ebpf_sidecar.pipeline.push_settings import PushSettings
from ebpf_sidecar.pipeline.settings import Bytes, Interval, Settings

from .variables import with_variables

Temporality = Literal["cumulative", "delta", "lowmemory"]


class TlsSettings(Settings):
    """How the server is verified, and how we identify ourselves."""

    insecure: bool = False
    """Send without TLS. An endpoint that starts with `http://` or `https://` decides by itself."""
    ca_file: str = ""
    """The certificates that may have signed the server's; by default those of the system."""
    cert_file: str = ""
    """Our certificate, for servers that ask for one (mTLS)."""
    key_file: str = ""
    """The key of `cert_file`."""
    server_name_override: str = ""
    """The name that the server's certificate must have, if not the endpoint's host."""
    reload_interval: Interval = 60.0
    """How often the files are checked for changes; new ones are used from the next request on."""

    @model_validator(mode="after")
    def _certificate_has_a_key(self) -> Self:
        if bool(self.cert_file) != bool(self.key_file):
            there, missing = ("cert_file", "key_file") if self.cert_file else ("key_file", "cert_file")
            raise ValueError(f"{there} needs {missing}; write both or none")
        return self


class OtlpSettings(PushSettings):
    """What both exporters have. Settings that are not written come from environment variables, see `variables`."""

    http: ClassVar[bool] = False

    headers: dict[str, SecretStr] = Field(default_factory=dict)
    """Headers of every request (gRPC: metadata), for example for authentication."""
    tls: TlsSettings = TlsSettings()
    """Encryption and certificates."""
    temporality: Temporality = "cumulative"
    """What counters and histograms say: their total, or what was counted since the previous request (`delta`), or
    `lowmemory`: totals of counters and deltas of histograms, as in OpenTelemetry's SDKs."""
    histogram_bounds: HistogramBounds = "default"
    """Which buckets are sent: `default`, `full` or a list, as for the exporter `prometheus`. With `full`, histograms of
    sizes are exponential ones."""
    resource_attributes: tuple[str, ...] = ()
    """Attributes of rows that describe a resource, for example `container.id`: each distinct combination becomes a
    resource of its own. By default all of them are attributes of the points."""
    max_request_size: Bytes = Field(default=4 << 20, ge=1024)
    """The largest request before compression; larger batches are split. gRPC servers accept 4 MiB by default."""

    @model_validator(mode="before")
    @classmethod
    def _from_environment(cls, written: Any) -> Any:
        return with_variables(written, os.environ, http=cls.http) if isinstance(written, Mapping) else written


class OtlpGrpcSettings(OtlpSettings):
    """Where requests go."""

    endpoint: str = "http://localhost:4317"
    """`host:port`, or a URL whose scheme says whether TLS is used."""
    compression: Literal["none", "gzip"] = "none"
    """How requests are compressed."""
    balancer_name: Literal["pick_first", "round_robin"] = "round_robin"
    """How requests are spread over the addresses of a host name: all of them in turn, or the first that answers."""

    @field_validator("endpoint")
    @classmethod
    def _endpoint_is_one(cls, written: str) -> str:
        return valid_target(written, 4317)

    @property
    def is_insecure(self) -> bool:
        """Whether requests are sent without TLS."""
        return is_insecure(self.endpoint, self.tls)

    def metadata(self) -> Sequence[tuple[str, str]]:
        """What every call says besides the request."""
        return [(name.lower(), value.get_secret_value()) for name, value in self.headers.items()]


class OtlpHttpSettings(OtlpSettings):
    """Where requests go."""

    http: ClassVar[bool] = True

    endpoint: str = "http://localhost:4318"
    """The server's URL; `/v1/metrics` is added."""
    metrics_endpoint: str = ""
    """The whole URL instead, if the path is another one."""
    compression: Literal["none", "deflate", "gzip", "zstd"] = "none"
    """How requests are compressed. `zstd` needs the package `zstandard` (`pip install 'ebpf-sidecar[zstd]'`)."""

    @model_validator(mode="after")
    def _url_is_one(self) -> Self:
        try:
            parts = urlsplit(self.url)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            valid = False
        if not valid:
            name = "metrics_endpoint" if self.metrics_endpoint else "endpoint"
            raise ValueError(f'{name}: "{getattr(self, name)}" is not a URL; write one, as in "http://collector:4318"')
        return self

    @property
    def url(self) -> str:
        """Where requests are posted."""
        return self.metrics_endpoint or f"{self.endpoint.rstrip('/')}/v1/metrics"


def valid_target(endpoint: str, port: int) -> str:
    """The gRPC endpoint as written. Raises ValueError with advice; ``port``: the usual one."""
    scheme, target = split_target(endpoint)
    if scheme not in ("", "http", "https", "unix", "dns", "ipv4", "ipv6") or not target:
        raise ValueError(f'"{endpoint}" is not an endpoint; write "host:port", as in "collector:{port}"')
    if scheme in ("", "dns") and ":" not in target:
        raise ValueError(f'"{endpoint}" has no port; write "{endpoint}:{port}"')
    return endpoint


def is_insecure(endpoint: str, tls: TlsSettings) -> bool:
    """Whether requests to a gRPC endpoint are sent without TLS."""
    scheme = split_target(endpoint)[0]
    return scheme in ("http", "unix") or (scheme != "https" and tls.insecure)


def split_target(endpoint: str) -> tuple[str, str]:
    """The scheme of a gRPC endpoint, empty if it has none, and what gRPC connects to."""
    scheme, separator, rest = endpoint.partition("://")
    if separator and scheme in ("http", "https"):
        parts = urlsplit(endpoint)
        port = "" if ":" in parts.netloc.rpartition("]")[2] else f":{443 if scheme == 'https' else 80}"
        return scheme, f"{parts.netloc}{port}" if parts.netloc else ""
    if not separator and endpoint.partition(":")[0] in ("ipv4", "ipv6", "unix"):
        return endpoint.partition(":")[0], endpoint
    return (scheme, rest.lstrip("/") and endpoint) if separator else ("", endpoint)
