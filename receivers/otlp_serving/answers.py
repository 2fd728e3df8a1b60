# SPDX-License-Identifier: Apache-2.0
"""What clients are answered, independent of the protocol: a status of gRPC, a text, and when to try again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse


class Code(IntEnum):
    """The codes of ``google.rpc.Code`` that are used here. Clients send again after UNAVAILABLE only."""

    OK = 0
    INVALID_ARGUMENT = 3
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


@dataclass(frozen=True, slots=True)
class Answer:
    """``rejected``: points that were not accepted though the rest was, by reason. ``retry_after``: in seconds."""

    code: Code = Code.OK
    message: str = ""
    retry_after: float | None = None
    rejected: Mapping[str, int] | None = None

    def response(self) -> ExportMetricsServiceResponse:
        """The message if the request was accepted."""
        response = ExportMetricsServiceResponse()
        if self.rejected:
            response.partial_success.rejected_data_points = sum(self.rejected.values())
            reasons = ", ".join(f"{reason}: {number}" for reason, number in sorted(self.rejected.items()))
            response.partial_success.error_message = f"data points were rejected ({reasons})"
        return response

    def status(self) -> Status:
        """The message if it was not."""
        status = Status(code=self.code, message=self.message)
        if self.retry_after is not None:
            delay = Duration()
            delay.FromNanoseconds(round(self.retry_after * 1e9))
            detail = Any()
            detail.Pack(RetryInfo(retry_delay=delay))
            status.details.append(detail)
        return status
