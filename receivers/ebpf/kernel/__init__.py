# SPDX-License-Identifier: Apache-2.0
"""The kernel's own interfaces: system calls, /proc, /sys, tracefs and BTF. Knows no probe."""
