# SPDX-License-Identifier: Apache-2.0
"""Loading as the service sees it: what is asked of the loader child, and what it hands over."""
