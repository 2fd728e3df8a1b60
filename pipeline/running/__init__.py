# SPDX-License-Identifier: Apache-2.0
"""A configuration as a running service: the component graph, start and shutdown, and the process's privileges."""
