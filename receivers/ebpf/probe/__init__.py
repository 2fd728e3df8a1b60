# SPDX-License-Identifier: Apache-2.0
"""A probe's YAML: its model, and how it is read."""
