# SPDX-License-Identifier: Apache-2.0
"""The checks of the receiver ``ebpf`` for ``ebpf-sidecar doctor``: can it run here, and which privileges are enough.

system         what only the kernel itself can answer: calls are tried, BCC is imported by a child
machine        the facts, read below one root: system + files of /proc, /sys and /boot
needs          capabilities that the hooks of the configured probes need, and why
…_findings     facts → lines; pure
security_context  needs → the YAML and the flags to copy
examination    all of it in order
"""
