# SPDX-License-Identifier: Apache-2.0
"""Receivers: where data comes in. One folder or file each."""
