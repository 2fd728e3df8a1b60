# SPDX-License-Identifier: Apache-2.0
"""How OTLP requests reach a server, over gRPC and HTTP: settings, certificates, and what its answers mean."""
