# SPDX-License-Identifier: Apache-2.0
"""What a probe's YAML says, and reading it."""
