# SPDX-License-Identifier: Apache-2.0
"""Kernel-level truth about storage performance, per pod, in a pipeline that anyone can extend."""
