# SPDX-License-Identifier: Apache-2.0
"""Registers that the kernel saved are found where each architecture's kernel puts them."""

import pytest

# "bpftool btf dump file /sys/kernel/btf/vmlinux" of Debian's 6.1.0-56-arm64, 6.12.117+deb12-arm64 and
# 7.3.4+deb13-arm64, the same in all; and of 6.18 for x86-64. In bytes.
IN_KERNEL = {
    "arm64": {"regs": 0, "sp": 248, "pc": 256, "pstate": 264, "orig_x0": 272, "syscallno": 280},
    "x86_64": {"r10": 56, "cx": 88, "si": 104, "di": 112, "orig_ax": 120, "ip": 128, "cs": 136, "sp": 152},
}
# arm64: x0 to x7 pass arguments, to the kernel and within it (AAPCS64, Documentation/arch/arm64). x86-64: the same but
# for the fourth, which is in r10 on entry (syscall destroys rcx) and in rcx within the kernel.
WHERE = {
    "arm64": {
        "CALL_NUMBER": "syscallno",
        "USER_ADDRESS": "pc",
        "USER_STACK": "sp",
        "FOURTH_ARGUMENT": 3 * 8,
        "FIRST_PASSED": 0,
        "SECOND_PASSED": 1 * 8,
        "FOURTH_PASSED": 3 * 8,
    },
    "x86_64": {
        "CALL_NUMBER": "orig_ax",
        "USER_ADDRESS": "ip",
        "USER_STACK": "sp",
        "FOURTH_ARGUMENT": "r10",
        "FIRST_PASSED": "di",
        "SECOND_PASSED": "si",
        "FOURTH_PASSED": "cx",
    },
}
IN_CONTEXT = ("FIRST_PASSED", "SECOND_PASSED", "FOURTH_PASSED")
"""Of what a kprobe is called with; the others are read from an address."""


@pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
def test_each_field_is_where_the_kernel_has_it(compiled, architecture):
    """Our struct is a copy of the kernel's, as far as it goes."""
    kernel = IN_KERNEL[architecture]

    ours = compiled(architecture, {name: f"__builtin_offsetof(struct pt_regs, {name})" for name in kernel})

    assert kernel == ours


@pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
def test_each_macro_reads_the_register_of_its_name(compiled, architecture):
    """Only these macros know of architectures; no probe does."""
    wanted = {
        name: IN_KERNEL[architecture][place] if isinstance(place, str) else place
        for name, place in WHERE[architecture].items()
    }
    asked = {
        name: f"(u64)&{name}((struct pt_regs *)0)" if name in IN_CONTEXT else f"{name}(0)"
        for name in WHERE[architecture]
    }

    assert wanted == compiled(architecture, asked)


def reading(macro, field, values):
    """Expressions that apply a macro to registers of which ``field`` has these values."""
    return {
        f"value_{i}": f"(int){macro}({value:#x}ULL - __builtin_offsetof(struct pt_regs, {field}))"
        for i, value in enumerate(values)
    }


@pytest.mark.parametrize(
    ("architecture", "field", "of_64_bit", "of_32_bit"),
    [
        # user mode of AArch64, the same with flags set; user mode of AArch32, the same in Thumb (arm64's PSTATE.M)
        ("arm64", "pstate", [0x0000_0000, 0x6000_1000], [0x0000_0010, 0x2000_0030]),
        ("x86_64", "cs", [0x33], [0x23]),
    ],
)
def test_programs_of_32_bit_are_recognized(compiled, architecture, field, of_64_bit, of_32_bit):
    """Their call numbers mean something else: on arm64 3 is io_cancel, to an AArch32 program it is read."""
    reported = compiled(architecture, reading("!!IS_32_BIT", field, of_64_bit + of_32_bit))

    assert [0] * len(of_64_bit) + [1] * len(of_32_bit) == list(reported.values())


@pytest.mark.parametrize(
    ("architecture", "field", "saved", "numbers"),
    [
        # what follows arm64's number is the kernel's own; NO_SYSCALL is -1 in 32 bits
        ("arm64", "syscallno", [0x3F, 0x1234_5678_0000_003F, 0xFFFF_FFFF], [63, 63, -1]),
        ("x86_64", "orig_ax", [0, 0xFFFF_FFFF_FFFF_FFFF], [0, -1]),
    ],
)
def test_an_exception_has_no_call_number(compiled, architecture, field, saved, numbers):
    """Page faults are distinguished from calls by it."""
    assert numbers == list(compiled(architecture, reading("CALL_NUMBER", field, saved)).values())
