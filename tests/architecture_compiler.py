# SPDX-License-Identifier: Apache-2.0
"""BCC's compiler as if on another machine: it takes the architecture from the environment, and needs no rights.

What compiled is kept for the next run, as the loader keeps it: the same text, headers and compiler give the same.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from ebpf_sidecar.receivers.ebpf.loader.bcc_package import bcc_version
from ebpf_sidecar.receivers.ebpf.loader.program_cache import key_of

TREE = Path(__file__).parents[1]
BPF = TREE / "bpf"
KEPT = TREE / ".cache/architectures"
MOST_FILES = 64
# what BPF cannot do, such as keeping more than 512 bytes on the stack, ends the process
_CHILD = """
import json, sys
from bcc import BPF
request = json.load(sys.stdin)
BPF._trace_autoload = lambda _: None  # as our loader does
bpf = BPF(text=request["text"], cflags=request["flags"])
print(json.dumps({name: bpf.dump_func(name).hex() for name in request["programs"]}))
"""
# Debian 13: on x86-64 its compiler wants CET by default, which no other target has
_FLAGS = ["-Wno-everything", "-fcf-protection=none"]


def compiled_for(architecture, text, flags, programs, wrapped=lambda line: line):
    """The instructions of ``programs`` in hexadecimal, by name; ``wrapped``: the command line that runs the compiler's.

    Fails with the compiler's message.
    """
    request = json.dumps({"text": text, "flags": [*flags, *_FLAGS], "programs": sorted(programs)})
    file = KEPT / key_of([_CHILD, architecture, request, *_surroundings()])
    if file.exists():
        return json.loads(file.read_text(encoding="utf-8"))
    done = subprocess.run(
        wrapped([sys.executable, "-c", _CHILD]),
        input=request,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ARCH": architecture, "BCC_KERNEL_SOURCE": str(BPF)},
    )
    assert done.returncode == 0, done.stderr
    if os.access(TREE, os.W_OK):
        _keep(file, done.stdout)
    return json.loads(done.stdout)


def _surroundings():
    """Everything besides the request that the compiler reads."""
    system = os.uname()
    headers = [*BPF.glob("*.h"), *(BPF / "include").rglob("*.h")]
    return (
        system.release,
        system.version,
        system.machine,
        bcc_version(),
        *(path.read_text() for path in sorted(headers)),
    )


def _keep(file, content):
    """Write the file at once, and remove the oldest where there are too many."""
    KEPT.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(f".{os.getpid()}")
    unfinished.write_text(content, encoding="utf-8")
    unfinished.replace(file)
    for old in sorted(KEPT.iterdir(), key=lambda path: path.stat().st_mtime)[:-MOST_FILES]:
        old.unlink(missing_ok=True)
