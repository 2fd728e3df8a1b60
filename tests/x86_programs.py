# SPDX-License-Identifier: Apache-2.0
"""The smallest programs for x86 that make system call 20 in a loop: getpid for i386, writev for x86-64."""

import struct

TIMES = 23
_CALL_20 = b"\xb8\x14\0\0\0"  # mov eax, 20
INTERRUPT = _CALL_20 + b"\xcd\x80"  # int 0x80
SYSCALL = _CALL_20 + b"\x83\xcf\xff\x0f\x05"  # or edi, -1; syscall
_EXIT_32 = b"\xb8\x01\0\0\0\x31\xdb\xcd\x80"
_EXIT_64 = b"\xb8\x3c\0\0\0\x31\xff\x0f\x05"


def elf32(body):
    """A program of 32 bits that does ``body`` `TIMES` times and exits."""
    base, headers, code = 0x8048000, 84, _loop(body) + _EXIT_32
    header = struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, base + headers, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    segment = struct.pack("<IIIIIIII", 1, 0, base, base, headers + len(code), headers + len(code), 5, 4096)
    return b"\x7fELF\1\1\1" + bytes(9) + header + segment + code


def elf64(body):
    """The same of 64 bits."""
    base, headers, code = 0x400000, 120, _loop(body) + _EXIT_64
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, base + headers, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, headers + len(code), headers + len(code), 4096)
    return b"\x7fELF\2\1\1" + bytes(9) + header + segment + code


def _loop(body):
    """Mov esi, 23; body; dec esi; jnz body."""
    return b"\xbe" + struct.pack("<I", TIMES) + body + b"\xff\xce\x75" + struct.pack("b", -len(body) - 4)
