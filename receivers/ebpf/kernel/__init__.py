# SPDX-License-Identifier: Apache-2.0
"""The kernel's own interfaces: system calls, and what /proc, /sys, tracefs and BTF say. Knows no probe."""
