# SPDX-License-Identifier: Apache-2.0
"""The Prometheus and OpenMetrics text formats, written from columns."""
