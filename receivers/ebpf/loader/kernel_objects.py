# SPDX-License-Identifier: Apache-2.0
"""Creates maps and loads programs with bpf(2), without a compiler or its library."""

from __future__ import annotations

import ctypes
import struct
from dataclasses import dataclass

from ebpf_sidecar.receivers.ebpf.kernel.bpf_syscall import Command, opened, packed

from .bytecode import MapLayout

PROGRAM_TYPES = {
    "kprobe": 2,
    "kretprobe": 2,
    "tracepoint": 5,
    "perf_event": 7,
    "raw_tracepoint": 17,
    "fentry": 26,
    "fexit": 26,
}
"""bpf_prog_type by type of attach point."""
_EXPECTED = {"fentry": 24, "fexit": 25}  # bpf_attach_type
_NAME = 15  # bytes: BPF_OBJ_NAME_LEN without the NUL
_LOG_BYTES = 1 << 20
_MAP_CREATE = struct.Struct("<5I8x16s")  # type, sizes of key and value, entries, flags; name
_PROG_LOAD = struct.Struct("<IIQQIIQ8x16s4xI36xI")
_TRACEPOINT_OPEN = struct.Struct("<QI4x")


class RefusedProgramError(OSError):
    """The kernel rejected a program. ``log``: the verifier's output, empty if it was not the verifier."""

    def __init__(self, error: OSError, log: str) -> None:
        super().__init__(error.errno, error.strerror)
        self.log = log


@dataclass(frozen=True, slots=True)
class Program:
    """What the kernel needs to know about a program. ``target``: BTF id of the function it attaches to, or 0."""

    name: str
    attach: str
    code: bytes
    license: str
    target: int = 0


def create_map(layout: MapLayout) -> int:
    """A descriptor of a new map. Raises `OSError`."""
    sizes = (layout.type, layout.key_size, layout.value_size, layout.max_entries, layout.flags)
    return opened(Command.MAP_CREATE, packed(_MAP_CREATE, *sizes, layout.name.encode()[:_NAME]))


def load_program(program: Program) -> int:
    """A descriptor of the loaded program. Raises `RefusedProgramError`."""
    try:
        return _load(program, None)
    except OSError as error:
        # the log makes loading several times as expensive, so it is requested only for a rejected program
        log = ctypes.create_string_buffer(_LOG_BYTES)
        try:
            return _load(program, log)
        except OSError:
            raise RefusedProgramError(error, log.value.decode(errors="replace")) from error


def open_tracepoint(program: int, event: str = "") -> int:
    """Attach to the raw tracepoint ``event``, or to the program's own target. Raises `OSError`."""
    name = ctypes.create_string_buffer(event.encode())
    attributes = packed(_TRACEPOINT_OPEN, ctypes.addressof(name) if event else 0, program)
    return opened(Command.RAW_TRACEPOINT_OPEN, attributes)


def _load(program: Program, log: ctypes.Array[ctypes.c_char] | None) -> int:
    code, licensed = ctypes.create_string_buffer(program.code), ctypes.create_string_buffer(program.license.encode())
    attributes = packed(
        _PROG_LOAD,
        PROGRAM_TYPES[program.attach],
        len(program.code) // 8,
        ctypes.addressof(code),
        ctypes.addressof(licensed),
        *((1, _LOG_BYTES, ctypes.addressof(log)) if log else (0, 0, 0)),
        program.name.encode()[:_NAME],
        _EXPECTED.get(program.attach, 0),
        program.target,
    )
    return opened(Command.PROG_LOAD, attributes)
