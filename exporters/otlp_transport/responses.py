# SPDX-License-Identifier: Apache-2.0
"""What a server's answers mean, by the OTLP specification: delivered, rejected in part, for good, or for now."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from google.protobuf.json_format import Parse, ParseError
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from ebpf_sidecar.pipeline.payload import Payload, SendError

RETRYABLE_HTTP = frozenset({429, 502, 503, 504})
RETRYABLE_GRPC = frozenset({"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"})
"""``RESOURCE_EXHAUSTED`` is one if the server says when to retry."""
_MAX_QUOTED = 300


def rejected_in_part(response: ExportMetricsServiceResponse, payload: Payload) -> SendError | None:
    """The points that the server did not take, if any."""
    partial = response.partial_success
    rejected = min(max(partial.rejected_data_points, 0), payload.points)
    if not rejected:
        return None
    why = f": {_short(partial.error_message)}" if partial.error_message else ""
    return SendError(f"the server rejected {rejected} points{why}", rejected={"partial_success": rejected})


def warning_of(response: ExportMetricsServiceResponse) -> str:
    """What a server that took everything has to say."""
    partial = response.partial_success
    return _short(partial.error_message) if not partial.rejected_data_points else ""


def http_response(body: bytes, content_type: str) -> ExportMetricsServiceResponse:
    """The body of a successful answer. Raises `SendError` for one that no OTLP server gives."""
    response = ExportMetricsServiceResponse()
    try:
        if content_type.startswith("application/json"):
            Parse(body or b"{}", response, ignore_unknown_fields=True)
        else:
            response.MergeFromString(body)
    except (DecodeError, ParseError) as cause:
        kind = content_type or "no content type"
        raise SendError(f"the answer ({kind}) is not OTLP's; check the endpoint and its path") from cause
    return response


def http_problem(status: int, headers: Mapping[str, str], body: bytes, now: float) -> SendError:
    """An answer other than success. ``now``: Unix time, for dates in ``Retry-After``."""
    where = f" (to {headers['location']})" if "location" in headers and 300 <= status < 400 else ""
    message = f"the server answered {status}{where}{_detail(body, headers.get('content-type', ''))}"
    if status not in RETRYABLE_HTTP:
        return SendError(message)
    return SendError(message, retry=True, retry_after=retry_after(headers.get("retry-after", ""), now))


def retry_after(value: str, now: float) -> float:
    """Seconds in a ``Retry-After`` header, a number or a date; 0 if it says nothing."""
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now) if value else 0.0
    except (ValueError, TypeError):
        return 0.0


def grpc_problem(code: str, message: str, details: bytes) -> SendError:
    """A failed call. ``details``: the trailing metadata ``grpc-status-details-bin``, empty if there is none."""
    wait = _retry_info(details)
    retry = code in RETRYABLE_GRPC or (code == "RESOURCE_EXHAUSTED" and wait is not None)
    text = f"{code}: {_short(message)}" if message else code
    return SendError(text, retry=True, retry_after=wait or 0.0) if retry else SendError(text)


def _retry_info(details: bytes) -> float | None:
    """Seconds to wait, None if the server does not say."""
    try:
        status = Status.FromString(details)
    except DecodeError:
        return None
    for detail in status.details:
        info = RetryInfo()
        if detail.Unpack(info):
            return float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9)
    return None


def _detail(body: bytes, content_type: str) -> str:
    """The message in the body of a refusal: a ``google.rpc.Status``, or text."""
    try:
        text = Status.FromString(body).message if "protobuf" in content_type else body.decode()
    except (DecodeError, UnicodeDecodeError):
        return ""
    return f": {_short(text)}" if text.strip() else ""


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_QUOTED else f"{line[:_MAX_QUOTED]}…"
