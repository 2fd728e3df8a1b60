# SPDX-License-Identifier: Apache-2.0
"""The kernel matrix: Debian's kernels in QEMU, each running the product's selftest (`make kernel-matrix`)."""
