# SPDX-License-Identifier: Apache-2.0
"""How many entries the kernel maps may have, so that all of them, filled, stay below a budget on this machine.

What an entry costs is the kernel's own arithmetic (kernel/bpf/hashtab.c, kernel/bpf/memalloc.c), not a measurement:
a hash map's element has a header of 48 bytes, then key and value, each rounded up to 8. Either all elements are made
beforehand, side by side, and each possible processor owns one more; or each is made when it is needed, by the kernel's
general allocator, with 8 bytes in front, rounded up to the allocator's next size. The second costs nothing while maps
are empty, but each processor that makes elements keeps some in reserve, for each map: on many processors that is more
than the maps themselves. Then, and on kernels that cannot do without (before 6.1), elements are made beforehand.

Beside some maps is an array of entries near at hand (near.h), which is there as a whole from the beginning.

So are maps that are arrays themselves: each entry takes its value, rounded up to 8 bytes.

Only one map of ours, of 8 bytes, has values for each possible processor, so nothing else grows with them.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ebpf_sidecar.pipeline.settings import format_bytes
from ebpf_sidecar.receivers.ebpf.maps.layout import eights
from ebpf_sidecar.receivers.ebpf.maps.near import place_bytes
from ebpf_sidecar.receivers.ebpf.probe.model import MapSpec

BUDGET = 16 << 20
"""Bytes of kernel memory that all maps together may take; the entries in the probes' YAML are made for it."""
FEWEST_ENTRIES = 64
FEWEST_PLACES = 16
MOST_ENTRIES = 1 << 27
"""Beyond, a hash map's table of buckets passes 4 GiB (htab_map_alloc answers E2BIG)."""
MOST_BYTES = (1 << 32) - (64 << 10)
"""Of one map: more was an error before kernel 5.11 (bpf_map_charge_init), and is no use to anybody after it."""
FIXED = 64 << 10
"""Bytes for the maps that do not grow: what to do per system call, blank rows, drops, control."""

_HEADER = 48  # struct htab_elem
_IN_FRONT = 8  # struct llist_node, in which the allocator keeps free elements
_OF_THE_GROUP = 8  # each object's pointer to the memory cgroup that pays for it
_OF_THE_MAP = 4096
_BUCKET = 16
_LOCKS = 8 * 4  # per processor and map, before 6.18
_ROOMS = (16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096)  # of kmalloc
_RESERVE = 96 * 256  # bytes that a processor keeps at most for a map, or three elements
_SHARE_OF_RESERVES = 4
_UNKNOWN = 1024
_STEPS = 4096


@dataclass(frozen=True, slots=True)
class Machine:
    """``processors``: how many there may ever be. ``on_demand``: whether the kernel can make elements when needed.

    ``page_bytes``: what large blocks are rounded up to. ``alignment``: what all sizes of kmalloc are multiples of.
    """

    processors: int
    on_demand: bool = True
    page_bytes: int = mmap.PAGESIZE
    alignment: int = 8


@dataclass(frozen=True, slots=True)
class Sizes:
    """``entries`` by the map's name in C, places near at hand among them. ``preallocated``: all elements are made
    beforehand. ``bytes``: at most."""

    entries: Mapping[str, int]
    preallocated: bool
    bytes: int


def possible_processors(sys: Path = Path("/sys")) -> int:
    """How many processors the kernel is prepared for; 1 where it does not tell."""
    try:
        text = (sys / "devices/system/cpu/possible").read_text(encoding="ascii")
    except OSError:
        return 1
    return max((int(number) for number in re.findall(r"\d+", text)), default=0) + 1


def alignment_of(machine: str, release: tuple[int, int]) -> int:
    """What sizes of kmalloc are multiples of, on a ``machine`` as uname says it.

    Before 6.5 arm64 aligned all for the longest cache line there is (ARCH_KMALLOC_MINALIGN): it has no 96 and no 192.
    """
    return 128 if machine == "aarch64" and release < (6, 5) else 8


def sizes_for(specs: Iterable[MapSpec], budget: int, machine: Machine) -> Sizes:
    """The largest maps for ``budget`` bytes, in the proportion that the probes declare.

    At the default budget no map gets more than its probe declares. Raises ValueError when even the smallest maps do
    not fit, and when there is more room than the kernel can make maps for.
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
        raise ValueError(f'"{format_bytes(budget)}" is more than the kernel has maps for; give at most "{enough}MiB"')
    return Sizes(entries, preallocated, cost(distinct, entries, machine, preallocated=preallocated))


def near_name(name: str) -> str:
    """The name in C of the array beside the map ``name``."""
    return f"near_{name}"


def cost(specs: Sequence[MapSpec], entries: Mapping[str, int], machine: Machine, *, preallocated: bool) -> int:
    """Bytes of kernel memory when all maps are full, at most."""
    own = sum(_map_cost(spec, entries, machine, preallocated=preallocated) for spec in specs)
    return FIXED + own + (0 if preallocated else _reserves(specs, machine))


def shares(specs: Iterable[MapSpec], sizes: Sizes, machine: Machine) -> Mapping[str, int]:
    """Of ``sizes.bytes``, what each map takes at most, by its name in C, with what processors keep in reserve for it.

    The rest, `FIXED`, is for maps that do not grow.
    """
    kept = not sizes.preallocated
    return {
        spec.name: _map_cost(spec, sizes.entries, machine, preallocated=sizes.preallocated)
        + (_reserves([spec], machine) if kept else 0)
        for spec in specs
    }


def room(spec: MapSpec, machine: Machine) -> int:
    """Bytes that the kernel's allocator takes for one element, when it is made on demand."""
    wanted, page = _element(spec) + _IN_FRONT, machine.page_bytes
    rooms = (size for size in _ROOMS if size >= wanted and size % machine.alignment == 0)
    return next(rooms, -(-wanted // page) * page) + _OF_THE_GROUP


def _element(spec: MapSpec) -> int:
    return _HEADER + eights(spec.key) + eights(spec.value) if spec.key else _UNKNOWN - _IN_FRONT


def _map_cost(spec: MapSpec, sizes: Mapping[str, int], machine: Machine, *, preallocated: bool) -> int:
    if spec.array:
        return _array_cost(sizes[spec.name] * eights(spec.value), machine)
    entries, near = sizes[spec.name], _near_cost(spec, sizes.get(near_name(spec.name), 0), machine)
    buckets = 1 << (entries - 1).bit_length()
    fixed = _OF_THE_MAP + near + _BUCKET * buckets + _LOCKS * machine.processors
    if preallocated:  # whole pages
        return fixed + machine.page_bytes + _element(spec) * (entries + machine.processors)
    return fixed + room(spec, machine) * entries


def _near_cost(spec: MapSpec, places: int, machine: Machine) -> int:
    return _array_cost(places * place_bytes(spec.key, spec.value), machine) if places else 0


def _array_cost(size: int, machine: Machine) -> int:
    # it can be mapped: its head has a page of its own, and it ends with a whole one
    page = machine.page_bytes
    return page + -(-size // page) * page


def _reserves(specs: Sequence[MapSpec], machine: Machine) -> int:
    """What all processors together keep at most when elements are made on demand."""
    return sum(machine.processors * max(_RESERVE, 3 * room(spec, machine)) for spec in specs if not spec.array)


def _scaled(specs: Sequence[MapSpec], steps: int, machine: Machine) -> Mapping[str, int]:
    entries = {spec.name: _entries(spec, steps) for spec in specs}
    return entries | {near_name(spec.name): _places(spec, steps, machine) for spec in specs if spec.near}


def _entries(spec: MapSpec, steps: int) -> int:
    wanted = max(FEWEST_ENTRIES, spec.entries * steps // _STEPS)
    return 1 << (wanted.bit_length() - 1) if spec.array else wanted


def _places(spec: MapSpec, steps: int, machine: Machine) -> int:
    """A power of two. As many as declared while the budget is not much below the default one.

    A row has a place for each processor that counts in it: from 32 processors on there are twice as many, from 64 on
    four times. A key of one word is a thread's, which is on one processor at a time.
    """
    more = 1 + (machine.processors >= 32) + 2 * (machine.processors >= 64) if spec.key > 8 else 1
    declared = spec.near * more
    wanted = max(FEWEST_PLACES, declared * min(_STEPS, 2 * steps) // _STEPS)
    return 1 << (wanted.bit_length() - 1)


def _possible(specs: Sequence[MapSpec], entries: Mapping[str, int], machine: Machine, *, preallocated: bool) -> bool:
    """Whether any kernel makes maps of these sizes, memory permitting."""
    return all(
        entries[spec.name] <= MOST_ENTRIES
        and _map_cost(spec, entries, machine, preallocated=preallocated) <= MOST_BYTES
        for spec in specs
    )


def _last(most: int, right: Callable[[int], bool]) -> int:
    """The greatest number of steps, up to ``most``, that is right; all below it are, too."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if right(middle) else (low, middle - 1)
    return low
