# SPDX-License-Identifier: Apache-2.0
"""The HTTP servers of the process, with bounds on what clients may take, and the status pages on them."""
