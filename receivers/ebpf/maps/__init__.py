# SPDX-License-Identifier: Apache-2.0
"""Kernel maps as arrays, and running totals of their values."""
