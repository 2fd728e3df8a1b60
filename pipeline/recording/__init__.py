# SPDX-License-Identifier: Apache-2.0
"""Recordings of what receivers produce: making them, and their format."""
