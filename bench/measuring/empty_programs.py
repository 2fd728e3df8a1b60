# SPDX-License-Identifier: Apache-2.0
"""The control of every measurement: programs that do nothing, on the same hooks and attached in the same way.

They cost what any agent pays that listens there; and while the kernel counts runs, what it counts of them is the
counting itself, taken at the same moments as that of the probes' programs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ebpf_sidecar.receivers.ebpf.loading.parent import load
from ebpf_sidecar.receivers.ebpf.loading.request import HookRequest, LoadRequest
from ebpf_sidecar.receivers.ebpf.maps.loaded import LoadedProbes

from .probes import PROBES, request

EMPTY = "empty_"
PROGRAM = "int {name}(void *ctx)\n{{\n    return 0;\n}}\n"


@contextmanager
def empty_programs(names: tuple[str, ...] = PROBES) -> Iterator[LoadedProbes]:
    """One beside each program of these probes, called ``empty_<program>``, for the length of the block."""
    with tempfile.TemporaryDirectory() as folder, load([], emptied(request(names), Path(folder, "empty.c"))) as loaded:
        yield loaded


def emptied(real: LoadRequest, source: Path) -> LoadRequest:
    """The same hooks for programs without content, which are written to ``source``."""
    programs = sorted({EMPTY + way.program for hook in real.hooks for way in hook.alternatives})
    header = '#include "owner.h"\n'  # ours: the maps that the loader fills
    source.write_text(header + "".join(PROGRAM.format(name=name) for name in programs))
    hooks = tuple(_emptied(hook) for hook in real.hooks)
    return replace(real, hooks=hooks, files=(str(source),), maps=("control", "drops"), calls={}, own_hooks=())


def _emptied(hook: HookRequest) -> HookRequest:
    return replace(hook, alternatives=tuple(replace(way, program=EMPTY + way.program) for way in hook.alternatives))
