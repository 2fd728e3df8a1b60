# SPDX-License-Identifier: Apache-2.0
"""Watching what was attached: whether hooks fire, what they cost, and what they are about."""
