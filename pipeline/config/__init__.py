# SPDX-License-Identifier: Apache-2.0
"""From the user's files to validated, typed, immutable settings; `load` is the entry point."""
