# SPDX-License-Identifier: Apache-2.0
"""The settings of the exporter ``skywalking_oap``."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator

from ebpf_sidecar.exporters.otlp_transport.settings import TlsSettings, is_insecure, valid_target
from ebpf_sidecar.pipeline.push_settings import PushSettings
from ebpf_sidecar.pipeline.settings import Bytes

Detail = Literal["process", "device"]


class OapSettings(PushSettings):
    """Where requests go, and the names of what they describe."""

    endpoint: str = "http://localhost:11800"
    """OAP's gRPC port, as `host:port`, or a URL whose scheme says whether TLS is used."""
    tls: TlsSettings = TlsSettings()
    """Encryption and certificates."""
    authentication: SecretStr = SecretStr("")
    """The token of `SW_AUTHENTICATION`, if the server wants one."""
    compression: Literal["none", "gzip"] = "none"
    """How requests are compressed."""
    balancer_name: Literal["pick_first", "round_robin"] = "round_robin"
    """How requests are spread over the addresses of a host name: all of them in turn, or the first that answers."""
    cluster: str = Field(min_length=1)
    """The name of the service in OAP: for BanyanDB, that of the cluster in its own metrics."""
    pod_name: str = ""
    """The pod whose containers are measured, where rows do not name it; by default `POD_NAME` of the environment, or
    the name of the host."""
    container_name: str = ""
    """The container that is measured, where only one is; by default the row's name, or the beginning of its id."""
    node_role: str = ""
    """The attribute `node_role`, for example `ROLE_DATA`."""
    node_type: str = ""
    """The attribute `node_type`, for example `hot`."""
    detail: tuple[Detail, ...] = ()
    """What is not added up: `process` (executables) and `device`. OAP's time grows with the square of the points."""
    max_request_size: Bytes = Field(default=4 << 20, ge=1024, le=40 << 20)
    """The largest request before compression; larger batches are split."""

    @field_validator("endpoint")
    @classmethod
    def _endpoint_is_one(cls, written: str) -> str:
        return valid_target(written, 11800)

    @property
    def is_insecure(self) -> bool:
        """Whether requests are sent without TLS."""
        return is_insecure(self.endpoint, self.tls)

    def metadata(self) -> Sequence[tuple[str, str]]:
        """OAP takes the bare token under a name of its own."""
        token = self.authentication.get_secret_value()
        return [("authentication", token)] if token else []

    def pod(self) -> str:
        """The pod of rows that do not name theirs."""
        return self.pod_name or os.environ.get("POD_NAME", "") or platform.node() or "host"


def point_attributes(settings: OapSettings) -> frozenset[str]:
    """The attributes of rows that are added up, because the settings do not ask for them."""
    unwanted: dict[Detail, tuple[str, ...]] = {
        "process": ("process.executable.name", "process.pid", "process.command"),
        "device": ("device", "system.device"),
    }
    left_out: list[Any] = [
        name for detail, names in unwanted.items() if detail not in settings.detail for name in names
    ]
    return frozenset(left_out)
