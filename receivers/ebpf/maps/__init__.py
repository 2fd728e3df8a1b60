# SPDX-License-Identifier: Apache-2.0
"""Kernel maps as arrays, and from what they hold to running totals."""
