# SPDX-License-Identifier: Apache-2.0
"""Export requests of OTLP as frames, with row ids that last from request to request."""
