# SPDX-License-Identifier: Apache-2.0
"""What the kernel maps take on machines of different sizes: calculated, by the rules that size them."""

from __future__ import annotations

from ebpf_sidecar.receivers.ebpf.loading.map_sizing import BUDGET, FIXED, Sizes, SizingMachine, shares, sizes_for

from .probes import all_probes
from .text import block, code, table

_PROCESSORS = (2, 64, 256)


@block
def map_memory() -> str:
    """A row a map: entries and memory when it is full, with all probes and the default budget."""
    specs = {spec.name: spec for probe in all_probes() for spec in probe.maps}
    machines = [SizingMachine(cpus, page_bytes=4096) for cpus in _PROCESSORS]
    sizes = [sizes_for(specs.values(), BUDGET, machine) for machine in machines]
    taken = [shares(specs.values(), size, machine) for size, machine in zip(sizes, machines, strict=True)]
    rows = [
        (
            code(spec.published),
            *(_cell(size.entries[name], share[name]) for size, share in zip(sizes, taken, strict=True)),
        )
        for name, spec in specs.items()
    ]
    fixed = ("those that do not grow", *(_kib(FIXED) for _ in machines))
    whole = ("all together", *(_kib(size.bytes) for size in sizes))
    made = ("entries are made", *(_made(size) for size in sizes))
    header = ("map", *(f"{cpus} processors" for cpus in _PROCESSORS))
    return table(header, [*rows, fixed, whole, made])


def _cell(entries: int, taken: int) -> str:
    return f"{entries:,} in {_kib(taken)}"


def _kib(size: int) -> str:
    return f"{-(-size // 1024):,} KiB"


def _made(size: Sizes) -> str:
    return "beforehand" if size.preallocated else "when needed"
