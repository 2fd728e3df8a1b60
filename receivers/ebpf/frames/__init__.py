# SPDX-License-Identifier: Apache-2.0
"""From running totals to frames."""
