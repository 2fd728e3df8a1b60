# SPDX-License-Identifier: Apache-2.0
"""OTLP's metrics service over gRPC and HTTP: both take bytes, pass them on, and answer what the specification says."""
