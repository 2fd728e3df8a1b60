# SPDX-License-Identifier: Apache-2.0
"""A small type information blob, written here by the format's rules."""

import struct

import pytest

from ebpf_sidecar.receivers.ebpf.kernel.btf import Btf

INT, PTR, STRUCT, UNION, ENUM, TYPEDEF, CONST, FUNC, FUNC_PROTO = 1, 2, 4, 5, 6, 8, 10, 12, 13


class Writer:
    """Collects types; each method returns the new type's id."""

    def __init__(self):
        self.types, self.strings, self.count = b"", b"\0", 0

    def name(self, text):
        if not text:
            return 0
        at = len(self.strings)
        self.strings += text.encode() + b"\0"
        return at

    def add(self, kind, name, size_or_type, rest=b"", *, members=0, flag=0):
        self.types += struct.pack("<III", self.name(name), flag << 31 | kind << 24 | members, size_or_type) + rest
        self.count += 1
        return self.count

    def struct(self, name, *members, kind=STRUCT, flag=0):
        rest = b"".join(struct.pack("<III", self.name(field), type_id, bits) for field, type_id, bits in members)
        return self.add(kind, name, 64, rest, members=len(members), flag=flag)

    def prototype(self, *arguments):
        return self.add(
            FUNC_PROTO, "", 0, b"".join(struct.pack("<II", 0, each) for each in arguments), members=len(arguments)
        )

    def blob(self):
        sizes = (24, 0, len(self.types), len(self.types), len(self.strings))
        return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, *sizes) + self.types + self.strings


@pytest.fixture
def btf():
    """One of each kind of type that matters."""
    writer = Writer()
    number = writer.add(INT, "int", 4, struct.pack("<I", 32))
    inner = writer.struct("", ("deep", number, 32), kind=UNION)
    request = writer.struct("request", ("flags", number, 0), ("", inner, 64), ("data", number, 128))
    writer.struct("packed", ("bit", number, 3 << 24 | 40), flag=1)
    status = writer.add(TYPEDEF, "blk_status_t", number)
    pointer = writer.add(PTR, "", writer.add(CONST, "", request))
    void = writer.add(PTR, "", 0)
    prototype = writer.prototype(void, pointer, status, number)
    writer.add(TYPEDEF, "btf_trace_rq_done", writer.add(PTR, "", prototype))
    values = b"".join(struct.pack("<II", writer.name(name), value) for name, value in (("a_id", 0), ("memory_id", 4)))
    writer.add(FUNC, "read_page", prototype)
    writer.add(ENUM, "ids", 4, values, members=2)
    return Btf(writer.blob())


@pytest.mark.parametrize(("field", "offset"), [("flags", 0), ("deep", 12), ("data", 16), ("nothing", None)])
def test_a_fields_offset_is_in_bytes_also_through_anonymous_members(btf, field, offset):
    """A field that is not there is None, not 0."""
    assert offset == btf.offset("request", field)


def test_a_bit_fields_width_is_no_part_of_its_offset(btf):
    """Bit 40 is byte 5."""
    assert 5 == btf.offset("packed", "bit")


def test_a_struct_that_is_not_there_has_no_offsets(btf):
    """No exception: the kernel is older or newer."""
    assert btf.offset("nothing", "flags") is None


def test_a_tracepoints_arguments_are_named_by_their_types(btf):
    """After pointers and const; the program's context is left out."""
    assert ("request", "blk_status_t", "int") == btf.tracepoint_arguments("rq_done")
    assert btf.tracepoint_arguments("unknown") is None


def test_an_enums_constants_have_values(btf):
    """Also 0."""
    assert [0, 4, None] == [btf.enumerator(name) for name in ("a_id", "memory_id", "nothing")]


def test_a_function_has_the_number_of_its_type(btf):
    """The kernel gets it as a program's attach target; a struct of that name is not a function."""
    assert [12, None, None] == [btf.function(name) for name in ("read_page", "request", "nothing")]


@pytest.mark.parametrize("data", [b"", b"\0" * 100, b"ELF and more than enough bytes"])
def test_other_bytes_are_refused(data):
    """Rather than read as nonsense."""
    with pytest.raises(ValueError, match="not BTF"):
        Btf(data)


def test_a_kernel_without_type_information_is_none(tmp_path):
    """So that the caller must handle it."""
    assert Btf.of_kernel(tmp_path / "vmlinux") is None
