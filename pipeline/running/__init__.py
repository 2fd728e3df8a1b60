# SPDX-License-Identifier: Apache-2.0
"""A configuration as a running service: the graph of components, their start and end, and the rights they run with."""
