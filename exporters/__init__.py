# SPDX-License-Identifier: Apache-2.0
"""Exporters: where data leaves the process. One file each."""
