# SPDX-License-Identifier: Apache-2.0
"""Whose events the kernel counted: cgroups and programs, and where their names come from."""
