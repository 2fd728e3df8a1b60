# SPDX-License-Identifier: Apache-2.0
"""OTLP over HTTP: requests in protobuf or JSON, compressed or not, and answers in the same form."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from ebpf_sidecar.pipeline.host import BodyProblem, Request, Response

from .answers import Answer, Code
from .compression import EncodingError, TooLargeError, decompressed

PROTOBUF, JSON = "application/x-protobuf", "application/json"
_STATUSES = {
    Code.OK: HTTPStatus.OK,
    Code.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    Code.RESOURCE_EXHAUSTED: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Code.UNIMPLEMENTED: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    Code.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
    Code.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}
_NO_ROOM = Answer(Code.UNAVAILABLE, "other requests take all the memory there is for them", 1.0)


@dataclass(frozen=True, slots=True)
class HttpEndpoint:
    """The handler of a route. ``max_body``: the most bytes of a request, as sent and decompressed."""

    export: Callable[[bytes], Answer]
    max_body: int
    _parsing_json: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: Request) -> Response:
        """Answer a POST."""
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type not in (PROTOBUF, JSON):
            text = f'Content-Type "{media_type[:80]}" is not supported; use {PROTOBUF} or {JSON}\n'
            return Response(text.encode("ascii", "replace"), HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        return _response(self._answer(request, media_type), media_type)

    def _answer(self, request: Request, media_type: str) -> Answer:
        if request.body_problem is BodyProblem.NO_ROOM:
            return _NO_ROOM
        try:
            if request.body_problem is BodyProblem.TOO_LARGE:
                raise TooLargeError  # answered like a body that is too large once decompressed
            body = decompressed(request.body, request.headers.get("content-encoding", ""), self.max_body)
            return self.export(self._from_json(body) if media_type == JSON else body)
        except TooLargeError:
            text = f"the request has more than {self.max_body} bytes; send smaller ones, or raise max_request_body_size"
            return Answer(Code.RESOURCE_EXHAUSTED, text)
        except EncodingError as problem:
            return Answer(Code.INVALID_ARGUMENT if problem.known else Code.UNIMPLEMENTED, str(problem))
        except (json_format.ParseError, UnicodeDecodeError, RecursionError) as problem:
            return Answer(Code.INVALID_ARGUMENT, f"not an ExportMetricsServiceRequest in JSON: {problem}")

    def _from_json(self, body: bytes) -> bytes:
        """The same request in protobuf. One at a time: its objects take many times the memory of the text."""
        with self._parsing_json:
            message = json_format.Parse(body, ExportMetricsServiceRequest(), ignore_unknown_fields=True)
            serialized: bytes = message.SerializeToString()
            return serialized


def _response(answer: Answer, media_type: str) -> Response:
    message: Any = answer.response() if answer.code is Code.OK else answer.status()
    body = (
        json_format.MessageToJson(message, indent=None).encode() if media_type == JSON else message.SerializeToString()
    )
    headers = {"Content-Type": media_type}
    if answer.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(answer.retry_after))
    return Response(body, _STATUSES[answer.code], headers)
