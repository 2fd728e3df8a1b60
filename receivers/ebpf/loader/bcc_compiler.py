# SPDX-License-Identifier: Apache-2.0
"""Compiles with BCC: the only file that imports it (and LLVM with it, about 125 MB)."""

from __future__ import annotations

import ctypes
import json
import os
import struct
from collections.abc import Sequence
from typing import Any

from ebpf_sidecar.receivers.ebpf.kernel.bpf_syscall import info

from .bytecode import Bytecode, MapLayout, bytecode

_MAP_INFO = struct.Struct("<6I")


def compile_with_bcc(text: str, flags: Sequence[str], headers: str) -> Bytecode:
    """Compile ``text`` against the folder ``headers`` instead of the kernel's headers, which need not be installed.

    Raises ImportError or `OSError` if there is no BCC; any other exception is about ``text``, or about the maps, which
    BCC creates in order to compile. BCC writes the reason to standard error.
    """
    os.environ["BCC_KERNEL_SOURCE"] = headers
    from bcc import BPF, lib  # noqa: PLC0415 # slow, and may be missing

    # BCC attaches programs with certain names automatically, and fails altogether if it cannot
    BPF._trace_autoload = lambda _: None  # there is no option for it
    bpf = BPF(text=text, cflags=list(flags))
    names = [lib.bpf_function_name(bpf.module, i) for i in range(lib.bpf_num_functions(bpf.module))]
    maps = _maps(bpf.module, lib)
    made = bytecode(maps, {name.decode(): bpf.dump_func(name) for name in names}, _license(bpf.module, lib))
    for descriptor in maps:
        os.close(descriptor)  # they are created again, as when nothing was compiled
    return made


def _license(module: Any, lib: Any) -> str:
    licensed: bytes = lib.bpf_module_license(module)
    return licensed.decode()


def _maps(module: Any, lib: Any) -> dict[int, MapLayout]:
    """By descriptor."""
    lib.bpf_num_tables.argtypes = [ctypes.c_void_p]  # the Python module does not declare these two
    lib.bpf_table_name.argtypes, lib.bpf_table_name.restype = [ctypes.c_void_p, ctypes.c_size_t], ctypes.c_char_p
    names = [lib.bpf_table_name(module, i) for i in range(lib.bpf_num_tables(module))]
    return {lib.bpf_table_fd(module, name): _layout(module, lib, name) for name in names}


def _layout(module: Any, lib: Any, name: bytes) -> MapLayout:
    kind, _, key_size, value_size, entries, flags = _MAP_INFO.unpack(info(lib.bpf_table_fd(module, name), 24))
    key, value = lib.bpf_table_key_desc(module, name), lib.bpf_table_leaf_desc(module, name)
    return MapLayout(name.decode(), kind, key_size, value_size, entries, flags, json.loads(key), json.loads(value))
