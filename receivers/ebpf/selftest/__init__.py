# SPDX-License-Identifier: Apache-2.0
"""``ebpf-sidecar selftest``: known workloads, and what the probes count of them, against oracles of the kernel's own.

``cases/`` says what is to be checked, one file a probe; ``workloads/`` holds what is run, as plain scripts.
"""
