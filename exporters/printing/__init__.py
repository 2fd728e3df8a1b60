# SPDX-License-Identifier: Apache-2.0
"""Frames as text for people and for programs that read lines."""
