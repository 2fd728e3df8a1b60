# SPDX-License-Identifier: Apache-2.0
"""BCC's compiler as if on another machine: it takes the architecture from the environment, and needs no rights."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BPF = Path(__file__).parents[4] / "bpf"

_CHILD = """
import json, sys
from bcc import BPF
asked = json.load(sys.stdin)
bpf = BPF(text=asked["text"], cflags=["-Wno-everything", "-fcf-protection=none"])
print(json.dumps([bpf.dump_func(name).hex() for name in asked["names"]]))
"""
# what would be read from an address is the address itself
_BEFORE = "#include <asm/ptrace.h>\n#define read_pointer(address) (address)"
# r0 = constant of 4 or of 8 bytes; exit (Documentation/bpf/standardization/instruction-set.rst)
_CONSTANT = re.compile(r"(?:b7|18)000000(.{8})(?:00000000.{8})?9500000000000000")


@pytest.fixture(scope="session")
def compiled():
    """Values of constant expressions, by name, as our headers and BCC's compiler see them on an architecture."""
    if importlib.util.find_spec("bcc") is None:
        pytest.skip("BCC for Python is not installed (python3-bpfcc)")

    def compiled(architecture, expressions):
        programs = [f"int get_{name}(void *context) {{ return {what}; }}" for name, what in expressions.items()]
        request = {"text": "\n".join([_BEFORE, *programs]), "names": [f"get_{name}" for name in expressions]}
        done = subprocess.run(
            [sys.executable, "-c", _CHILD],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "ARCH": architecture, "BCC_KERNEL_SOURCE": str(BPF)},
        )
        assert done.returncode == 0, done.stderr
        return dict(zip(expressions, map(_returned, json.loads(done.stdout)), strict=True))

    return compiled


def _returned(program):
    """The constant that a program returns, as an int of C."""
    match = _CONSTANT.fullmatch(program)
    assert match, f"no constant: {program}"
    return int.from_bytes(bytes.fromhex(match[1]), "little", signed=True)
