# SPDX-License-Identifier: Apache-2.0
"""Instructions of no particular program, with loads of maps among them."""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.receivers.ebpf.loader.bytecode import Bytecode, MapLayout, bytecode

LAYOUTS = [
    MapLayout("control", 2, 4, 8, 2, 0, "int", "unsigned long"),
    MapLayout("stats", 1, 16, 24, 512, 1, ["cache_key", [["tgid", "unsigned int"]], "struct"], ["value", [], "struct"]),
]
LOAD_64, ADD, FROM_MAP = 0x18, 0x07, 0x11  # the last: register 1, and that what is loaded is a map


def load(registers, number):
    """A long instruction; the upper half of what it loads is in the next one."""
    return struct.pack("<BBhi", LOAD_64, registers, 0, number) + struct.pack("<BBhi", 0, 0, 0, 7)


def test_only_loads_of_maps_are_changed():
    """A constant that equals a descriptor stays, and so does data that looks like an instruction."""
    looks_like_one = struct.pack("<BBhi", ADD, FROM_MAP, 0, 5) + load(0x01, 5)
    made = bytecode({5: LAYOUTS[0], 9: LAYOUTS[1]}, {"program": load(FROM_MAP, 9) + looks_like_one}, "GPL")

    assert load(FROM_MAP, 1) + looks_like_one == made.programs["program"]
    assert load(FROM_MAP, 31) + looks_like_one == made.linked("program", [30, 31])


def test_an_undescribed_map_is_an_error():
    """It would be loaded with another process's descriptor."""
    with pytest.raises(KeyError):
        bytecode({5: LAYOUTS[0]}, {"program": load(FROM_MAP, 6)}, "GPL")


@given(
    loads=st.lists(st.tuples(st.sampled_from([FROM_MAP, 0x01, 0x12]), st.integers(0, 1))), others=st.binary(max_size=64)
)
def test_linking_gives_back_what_was_compiled(loads, others):
    """With the same descriptors, also after a trip through JSON."""
    descriptors = [3, 8]
    filling = b"".join(struct.pack("<BBhi", ADD, byte, 0, byte) for byte in others)
    code = b"".join(load(registers, descriptors[place]) for registers, place in loads) + filling
    made = bytecode(dict(zip(descriptors, LAYOUTS, strict=True)), {"program": code}, "GPL")

    again = Bytecode.from_json(json.loads(json.dumps(made.to_json())))

    assert made == again
    assert code == again.linked("program", descriptors)
