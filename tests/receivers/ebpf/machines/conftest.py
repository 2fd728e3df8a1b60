# SPDX-License-Identifier: Apache-2.0
"""Constant expressions of our headers, as they are compiled for another machine."""

import importlib.util
import re

import pytest
from architecture_compiler import compiled_for

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
        functions = [f"int get_{name}(void *context) {{ return {what}; }}" for name, what in expressions.items()]
        text = "\n".join([_BEFORE, *functions])
        programs = compiled_for(architecture, text, [], [f"get_{name}" for name in expressions])
        return {name: _returned(programs[f"get_{name}"]) for name in expressions}

    return compiled


def _returned(program):
    """The constant that a program returns, as an int of C."""
    match = _CONSTANT.fullmatch(program)
    assert match, f"no constant: {program}"
    return int.from_bytes(bytes.fromhex(match[1]), "little", signed=True)
