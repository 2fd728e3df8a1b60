# SPDX-License-Identifier: Apache-2.0
"""The file types in the kernel's map of system calls."""

from pathlib import Path

from ebpf_sidecar.receivers.ebpf.probe.file import read_probe

SYSCALLS = Path(__file__).parents[1] / "bpf" / "syscalls.yaml"


def types_of(loaded, pid):
    """How many calls of a process had each type, by the call's number."""
    [attribute] = [each for each in read_probe(SYSCALLS).metrics[0].attributes if each.name == "file.type"]
    kernel_map = loaded.maps["syscall_stats"]
    keys, values = kernel_map.read()
    times = values[:, kernel_map.value_fields["duration"]].sum(axis=1)
    counted = {}
    for key, count in zip(keys, times, strict=True):
        if key["tgid"] == pid:
            counted.setdefault(int(key["syscall"]), {})[attribute.decode[int(key["file_type"])]] = int(count)
    return counted
