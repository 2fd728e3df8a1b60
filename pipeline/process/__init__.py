# SPDX-License-Identifier: Apache-2.0
"""The process itself and its children: what they may import and do. Imports nothing else of the product."""
