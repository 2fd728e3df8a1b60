# SPDX-License-Identifier: Apache-2.0
"""Watches what was attached: whether hooks fire, what they cost, and which cgroups they measure."""
