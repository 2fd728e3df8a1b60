# SPDX-License-Identifier: Apache-2.0
"""A limit on how many rows leave the process: the least active rows share one, and no count is lost."""
