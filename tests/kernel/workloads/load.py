# SPDX-License-Identifier: Apache-2.0
"""Loads a probe under a restriction: load.py RESTRICTION YAML; prints how that went as JSON.

Restrictions: none; seccomp (bpf(2) is filtered); reader (loads, then gives up root and all capabilities, and reads).
"""

import ctypes
import json
import os
import struct
import sys
from pathlib import Path

from ebpf_sidecar.receivers.ebpf.loading.build_request import request_for
from ebpf_sidecar.receivers.ebpf.loading.parent import LoadError, load
from ebpf_sidecar.receivers.ebpf.probe.file import read_probe

LOAD_WORD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, EPERM = 0x7FFF0000, 0x00050001
BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
NOBODY = 65534


def forbid_bpf():
    """A filter as container runtimes install it."""
    lines = [(LOAD_WORD, 0, 0, 0), (JUMP_EQUAL, 0, 1, BPF), (RETURN, 0, 0, EPERM), (RETURN, 0, 0, ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *line) for line in lines))
    program = struct.pack("<H6xQ", len(lines), ctypes.addressof(code))
    ctypes.CDLL(None).prctl(22, 2, ctypes.create_string_buffer(program), 0, 0)


def without_rights(loaded):
    """What a reader without root can still do."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    cache = loaded.maps["cache_stats_map"]
    os.pread(os.open("/proc/self/exe", os.O_RDONLY), 4096, 0)
    retired = loaded.generation.flip()
    keys, _ = cache.read()
    cache.delete(keys)
    rest, _ = cache.read()
    return {"read": len(keys), "left": int((rest["generation"] == retired).sum()), "capabilities": capabilities()}


def capabilities():
    """The effective set."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff")), 16)


def main():
    """Load under the restriction."""
    restriction, path = sys.argv[1:]
    probe = read_probe(Path(path))
    if restriction == "seccomp":
        forbid_bpf()
    try:
        with load([probe], request_for([probe])) as loaded:
            answer = without_rights(loaded) if restriction == "reader" else {"hooks": len(loaded.hooks)}
    except LoadError as error:
        answer = {"failure": error.failure, "message": str(error)}
    sys.stdout.write(json.dumps(answer))


main()
