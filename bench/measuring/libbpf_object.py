# SPDX-License-Identifier: Apache-2.0
"""Third-party programs to compare with: a compiled object file, loaded and attached by libbpf."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

LIBRARY = "libbpf.so.1"
_HANDLE, _TEXT = ctypes.c_void_p, ctypes.c_char_p
_FUNCTIONS = {
    "bpf_object__open": ([_TEXT], _HANDLE),
    "bpf_object__load": ([_HANDLE], ctypes.c_int),
    "bpf_object__next_program": ([_HANDLE, _HANDLE], _HANDLE),
    "bpf_object__close": ([_HANDLE], None),
    "bpf_program__name": ([_HANDLE], _TEXT),
    "bpf_program__fd": ([_HANDLE], ctypes.c_int),
    "bpf_program__attach": ([_HANDLE], _HANDLE),
    "bpf_link__destroy": ([_HANDLE], ctypes.c_int),
}


@contextmanager
def attached_object(path: Path) -> Iterator[Mapping[str, int]]:
    """Its programs at work for the length of the block: their descriptors by name."""
    library = _library()
    opened = library.bpf_object__open(bytes(path))
    if not opened or library.bpf_object__load(opened):
        raise SystemExit(f"{path}: libbpf cannot load it")
    programs = list(_programs(library, opened))
    links = [library.bpf_program__attach(program) for program in programs]
    try:
        if not all(links):
            raise SystemExit(f"{path}: libbpf cannot attach all of its programs")
        yield {library.bpf_program__name(each).decode(): library.bpf_program__fd(each) for each in programs}
    finally:
        for link in filter(None, links):
            library.bpf_link__destroy(link)
        library.bpf_object__close(opened)


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(LIBRARY)
    for name, (arguments, result) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, result
    return library


def _programs(library: ctypes.CDLL, opened: int) -> Iterator[int]:
    program = library.bpf_object__next_program(opened, None)
    while program:
        yield program
        program = library.bpf_object__next_program(opened, program)
