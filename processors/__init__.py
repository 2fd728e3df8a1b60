# SPDX-License-Identifier: Apache-2.0
"""Processors: frames in, frames out. One file each."""
