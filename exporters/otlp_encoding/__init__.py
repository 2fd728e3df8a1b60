# SPDX-License-Identifier: Apache-2.0
"""Frames as OTLP protobuf: columns are written straight into the bytes of a request.

The bytes of a row's attributes are made once for its row set. All numbers of a point have a fixed width in OTLP, so the
points of a row set are a template, into which a frame's columns are copied. Field numbers are those of
opentelemetry-proto 1.x (metrics/v1/metrics.proto, common/v1/common.proto).
"""
