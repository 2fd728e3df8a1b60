# SPDX-License-Identifier: Apache-2.0
"""The command `ebpf-sidecar`: its entry point, its subcommands, and those of plugins."""
