# SPDX-License-Identifier: Apache-2.0
"""Loading as the service sees it: the request to the loader child, and what it hands over."""
