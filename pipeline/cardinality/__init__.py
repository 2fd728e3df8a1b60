# SPDX-License-Identifier: Apache-2.0
"""A bound on how many rows leave the process: those that matter least share one, and no count is lost."""
