# SPDX-License-Identifier: Apache-2.0
"""Sizes the kernel maps so that all of them, when full, stay within a memory budget on this machine.

The cost of an entry follows the kernel's own arithmetic (kernel/bpf/hashtab.c, kernel/bpf/memalloc.c), not a
measurement: a hash map's element has a header of 48 bytes, then key and value, each rounded up to 8. Either all
elements are preallocated contiguously, with one more per possible CPU; or each is allocated on demand by the kernel's
general allocator, with 8 bytes in front, rounded up to the allocator's next size class. The latter costs nothing while
maps are empty, but each CPU that allocates elements keeps a reserve for each map: with many CPUs that exceeds the maps
themselves. In that case, and on kernels that require it (before 6.1), elements are preallocated.

Some maps have a near map (near.h), an array that is allocated as a whole from the start.

So are maps that are arrays themselves: each entry takes its value, rounded up to 8 bytes.

Only one of our maps, of 8 bytes, has per-CPU values, so nothing else grows with the number of CPUs.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ebpf_sidecar.pipeline.settings import format_bytes
from ebpf_sidecar.receivers.ebpf.maps.layout import round_up_to_8
from ebpf_sidecar.receivers.ebpf.maps.near import place_bytes
from ebpf_sidecar.receivers.ebpf.probe.model import MapSpec

BUDGET = 16 << 20
"""Bytes of kernel memory that all maps together may take; the numbers of entries in the probes' YAML assume it."""
MIN_ENTRIES = 64
MIN_PLACES = 16
MAX_ENTRIES = 1 << 27
"""Above it, a hash map's bucket table exceeds 4 GiB (htab_map_alloc answers E2BIG)."""
MAX_BYTES = (1 << 32) - (64 << 10)
"""The limit of one map: more was an error before kernel 5.11 (bpf_map_charge_init), and is of no use since."""
FIXED = 64 << 10
"""Bytes for the maps of fixed size: what to do per system call, blank rows, drops, control."""

_HEADER = 48  # struct htab_elem
_IN_FRONT = 8  # struct llist_node, in which the allocator links free elements
_OF_THE_GROUP = 8  # each object's pointer to the memory cgroup that it is charged to
_OF_THE_MAP = 4096
_BUCKET = 16
_LOCKS = 8 * 4  # per processor and map, before 6.18
_SIZE_CLASSES = (16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096)  # of kmalloc
_RESERVE = 96 * 256  # the most bytes that a CPU keeps for a map, or three elements
_SHARE_OF_RESERVES = 4
_UNKNOWN = 1024
_STEPS = 4096


@dataclass(frozen=True, slots=True)
class SizingMachine:
    """``cpus``: the possible CPUs. ``on_demand``: whether the kernel can allocate elements on demand.

    ``page_bytes``: large blocks are rounded up to it. ``alignment``: all kmalloc sizes are multiples of it.
    """

    cpus: int
    on_demand: bool = True
    page_bytes: int = mmap.PAGESIZE
    alignment: int = 8


@dataclass(frozen=True, slots=True)
class Sizes:
    """``entries`` by the map's C name, including near maps. ``preallocated``: whether all elements are. ``bytes``: at
    most."""

    entries: Mapping[str, int]
    preallocated: bool
    bytes: int


def possible_cpus(sys: Path = Path("/sys")) -> int:
    """The number of possible CPUs; 1 if unknown."""
    try:
        text = (sys / "devices/system/cpu/possible").read_text(encoding="ascii")
    except OSError:
        return 1
    return max((int(number) for number in re.findall(r"\d+", text)), default=0) + 1


def alignment_of(machine: str, release: tuple[int, int]) -> int:
    """The alignment of kmalloc sizes on a ``machine`` (as reported by uname).

    Before 6.5 arm64 aligned to the longest possible cache line (ARCH_KMALLOC_MINALIGN): it has no 96 and no 192.
    """
    return 128 if machine == "aarch64" and release < (6, 5) else 8


def sizes_for(specs: Iterable[MapSpec], budget: int, machine: SizingMachine) -> Sizes:
    """The largest maps for ``budget`` bytes, in the proportions that the probes declare.

    At the default budget no map gets more than its probe declares. Raises ValueError if even the smallest maps do not
    fit, and if the budget exceeds what the kernel can allocate.
    """
    distinct = list({spec.name: spec for spec in specs}.values())
    preallocated = not machine.on_demand or _reserves(distinct, machine) > budget // _SHARE_OF_RESERVES

    def cost_of(steps: int) -> int:
        return cost(distinct, _scaled(distinct, steps, machine), machine, preallocated=preallocated)

    def possible(steps: int) -> bool:
        return _possible(distinct, _scaled(distinct, steps, machine), machine, preallocated=preallocated)

    least = cost_of(0)
    if least > budget:
        raise ValueError(f'"{budget}" bytes are too few for these probes; give at least "{-(-least // 1024)}KiB"')
    most = max(1, _STEPS * budget // BUDGET)
    fits = _last(most, lambda steps: cost_of(steps) <= budget)
    entries = _scaled(distinct, fits, machine)
    if not possible(fits):
        enough = cost_of(_last(fits, possible)) >> 20
        raise ValueError(
            f'"{format_bytes(budget)}" is more than the kernel can use for maps; give at most "{enough}MiB"'
        )
    return Sizes(entries, preallocated, cost(distinct, entries, machine, preallocated=preallocated))


def near_name(name: str) -> str:
    """The C name of the near map of the map ``name``."""
    return f"near_{name}"


def cost(specs: Sequence[MapSpec], entries: Mapping[str, int], machine: SizingMachine, *, preallocated: bool) -> int:
    """The most bytes of kernel memory, when all maps are full."""
    own = sum(_map_cost(spec, entries, machine, preallocated=preallocated) for spec in specs)
    return FIXED + own + (0 if preallocated else _reserves(specs, machine))


def shares(specs: Iterable[MapSpec], sizes: Sizes, machine: SizingMachine) -> Mapping[str, int]:
    """The most bytes (of ``sizes.bytes``) that each map takes, by its C name, including the CPUs' reserves for it.

    The rest, `FIXED`, is for maps of fixed size.
    """
    kept = not sizes.preallocated
    return {
        spec.name: _map_cost(spec, sizes.entries, machine, preallocated=sizes.preallocated)
        + (_reserves([spec], machine) if kept else 0)
        for spec in specs
    }


def allocation_size(spec: MapSpec, machine: SizingMachine) -> int:
    """Bytes that the kernel's allocator takes for one element allocated on demand."""
    wanted, page = _element(spec) + _IN_FRONT, machine.page_bytes
    rooms = (size for size in _SIZE_CLASSES if size >= wanted and size % machine.alignment == 0)
    return next(rooms, -(-wanted // page) * page) + _OF_THE_GROUP


def _element(spec: MapSpec) -> int:
    return _HEADER + round_up_to_8(spec.key) + round_up_to_8(spec.value) if spec.key else _UNKNOWN - _IN_FRONT


def _map_cost(spec: MapSpec, sizes: Mapping[str, int], machine: SizingMachine, *, preallocated: bool) -> int:
    if spec.array:
        return _array_cost(sizes[spec.name] * round_up_to_8(spec.value), machine)
    entries, near = sizes[spec.name], _near_cost(spec, sizes.get(near_name(spec.name), 0), machine)
    buckets = 1 << (entries - 1).bit_length()
    fixed = _OF_THE_MAP + near + _BUCKET * buckets + _LOCKS * machine.cpus
    if preallocated:  # whole pages
        return fixed + machine.page_bytes + _element(spec) * (entries + machine.cpus)
    return fixed + allocation_size(spec, machine) * entries


def _near_cost(spec: MapSpec, places: int, machine: SizingMachine) -> int:
    return _array_cost(places * place_bytes(spec.key, spec.value), machine) if places else 0


def _array_cost(size: int, machine: SizingMachine) -> int:
    # it can be mapped: its header takes a whole page, and its end is rounded up to one
    page = machine.page_bytes
    return page + -(-size // page) * page


def _reserves(specs: Sequence[MapSpec], machine: SizingMachine) -> int:
    """The most that all CPUs together keep in reserve when elements are allocated on demand."""
    return sum(machine.cpus * max(_RESERVE, 3 * allocation_size(spec, machine)) for spec in specs if not spec.array)


def _scaled(specs: Sequence[MapSpec], steps: int, machine: SizingMachine) -> Mapping[str, int]:
    entries = {spec.name: _entries(spec, steps) for spec in specs}
    return entries | {near_name(spec.name): _places(spec, steps, machine) for spec in specs if spec.near}


def _entries(spec: MapSpec, steps: int) -> int:
    wanted = max(MIN_ENTRIES, spec.entries * steps // _STEPS)
    return 1 << (wanted.bit_length() - 1) if spec.array else wanted


def _places(spec: MapSpec, steps: int, machine: SizingMachine) -> int:
    """The entries of a near map, a power of two: as many as declared unless the budget is far below the default.

    A row takes one near entry per CPU that counts in it: from 32 CPUs on there are twice as many, from 64 on four
    times. A key of one word belongs to a thread, which runs on one CPU at a time.
    """
    more = 1 + (machine.cpus >= 32) + 2 * (machine.cpus >= 64) if spec.key > 8 else 1
    declared = spec.near * more
    wanted = max(MIN_PLACES, declared * min(_STEPS, 2 * steps) // _STEPS)
    return 1 << (wanted.bit_length() - 1)


def _possible(
    specs: Sequence[MapSpec], entries: Mapping[str, int], machine: SizingMachine, *, preallocated: bool
) -> bool:
    """Whether every kernel can create maps of these sizes, memory permitting."""
    return all(
        entries[spec.name] <= MAX_ENTRIES and _map_cost(spec, entries, machine, preallocated=preallocated) <= MAX_BYTES
        for spec in specs
    )


def _last(most: int, right: Callable[[int], bool]) -> int:
    """The greatest number of steps, up to ``most``, that satisfies ``right``; all smaller ones do as well."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if right(middle) else (low, middle - 1)
    return low
