# SPDX-License-Identifier: Apache-2.0
"""Recordings of what receivers produce: recording, and the file format."""
