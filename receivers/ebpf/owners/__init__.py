# SPDX-License-Identifier: Apache-2.0
"""The owners of events: cgroups and programs, and where their names come from."""
