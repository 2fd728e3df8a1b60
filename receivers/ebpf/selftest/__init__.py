# SPDX-License-Identifier: Apache-2.0
"""``ebpf-sidecar selftest``: runs known workloads, and compares the probes' counts with the kernel's own.

``cases/`` lists what is checked, one file per probe; ``workloads/`` holds the workloads as plain scripts.
"""
