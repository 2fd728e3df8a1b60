# SPDX-License-Identifier: Apache-2.0
"""From the user's files to checked, typed, immutable settings; `load` is the entrance."""
