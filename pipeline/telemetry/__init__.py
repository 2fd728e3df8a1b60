# SPDX-License-Identifier: Apache-2.0
"""The product's own telemetry: counters, logs and health."""
