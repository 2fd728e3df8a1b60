# SPDX-License-Identifier: Apache-2.0
"""Names of programs at functions (fentry, fexit): by them BCC finds the function, in one of two forms.

BCC up to 0.27 (Debian 12) reads ``kfunc__<function>``; from 0.28 on (Ubuntu 24.04, Debian 13) it reads
``kfunc__<module>__<function>`` and does not check that there is a module: for ``kfunc__vfs_read`` it copies to the end
of memory ("buffer overflow detected"), for ``kfunc____fput`` it looks for ``fput``. Probes use the first form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .probe import COMPILED_AS

_KERNEL = "vmlinux__"  # functions of modules are not hooked
_OF_NEWER_BCC = "MODULE_KFUNC_PROBE"  # a macro of its headers that came with the second form


def with_module(program: str) -> str:
    """The second form of a program's name; that of a program that is not at a function stays."""
    prefix = next((prefix for prefix in COMPILED_AS.values() if program.startswith(prefix)), "")
    return prefix + _KERNEL + program.removeprefix(prefix) if prefix else program


def renaming(programs: Iterable[str]) -> list[str]:
    """Lines of C before which nothing may name ``programs``: the compiler knows which form its BCC reads."""
    renamed = {program: with_module(program) for program in programs}
    lines = [f"#define {old} {new}" for old, new in renamed.items() if new != old]
    return [f"#ifdef {_OF_NEWER_BCC}", *lines, "#endif"] if lines else []


def compiled_name(program: str, has: Callable[[str], object]) -> str:
    """The name that a program got; ``has``: whether one of that name was compiled."""
    renamed = with_module(program)
    return renamed if has(renamed) else program
