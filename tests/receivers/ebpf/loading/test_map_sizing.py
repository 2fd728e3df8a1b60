# SPDX-License-Identifier: Apache-2.0
"""Maps for a budget: by the kernel's own arithmetic, written down here once more from its sources."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline.settings import parse_bytes
from ebpf_sidecar.receivers.ebpf.loading.map_sizing import (
    BUDGET,
    FIXED,
    SizingMachine,
    alignment_of,
    possible_cpus,
    shares,
    sizes_for,
)
from ebpf_sidecar.receivers.ebpf.probe.file import find_probes, read_probe
from ebpf_sidecar.receivers.ebpf.probe.model import MapSpec

BPF = Path(__file__).parents[4] / "bpf"
MIB = 1 << 20
ALL = [spec for path in find_probes([BPF]).values() for spec in read_probe(path).maps]
KMALLOC = (64, 96, 128, 192, 256, 512, 1024, 2048)


def kernel_bytes(spec, sizes, machine):
    """htab_map_alloc, bpf_mem_alloc_init, the watermarks of memalloc.c and array_map_alloc (kernel 6.18), for a
    map that is full, and what is near at hand."""
    if spec.array:
        return spec.value * sizes.entries[spec.name]
    cpus, entries, words = machine.cpus, sizes.entries[spec.name], -(-spec.key // 8) + -(-spec.value // 8)
    near = sizes.entries[f"near_{spec.name}"] * -(-8 * (words + 1) // 64) * 64 if spec.near else 0
    element, fixed = 48 + 8 * words, near + 16 * 2 ** (entries - 1).bit_length()
    if sizes.preallocated:
        return fixed + -(-element * (entries + cpus) // machine.page_bytes) * machine.page_bytes
    rounded = next(room for room in KMALLOC if room >= element + 8 and room % machine.alignment == 0)
    high = 96 if rounded <= 256 else max(96 * 256 // rounded, 3)
    return fixed + rounded * (entries + high * cpus)


@pytest.mark.parametrize("cpus", [1, 2, 16, 64, 256, 1024])
@pytest.mark.parametrize("on_demand", [True, False])
@pytest.mark.parametrize(("page", "alignment"), [(4096, 8), (4096, 128), (65536, 8), (65536, 128)])
def test_full_maps_of_all_probes_stay_below_16_mib_on_every_machine(cpus, on_demand, page, alignment):
    """Reserves of the allocator, which each processor keeps, included; arm64's pages and alignment, too."""
    machine = SizingMachine(cpus, on_demand, page, alignment)
    sizes = sizes_for(ALL, BUDGET, machine)
    specs = {spec.name: spec for spec in ALL}.values()
    near = {spec.name: sizes.entries[f"near_{spec.name}"] for spec in specs if spec.near}
    times = {spec.name: 4 if cpus >= 64 and spec.key > 8 else 1 for spec in ALL}

    real = sum(kernel_bytes(spec, sizes, machine) for spec in specs)
    assert real < sizes.bytes <= 16 * MIB
    # arrays have powers of two
    assert all(sizes.entries[spec.name] >= spec.entries * (0.25 if spec.array else 0.5) for spec in specs)
    assert {spec.name: times[spec.name] * spec.near for spec in specs if spec.near} == near


@pytest.mark.parametrize("cpus", [2, 64, 256])
@pytest.mark.parametrize("on_demand", [True, False])
def test_what_each_map_takes_adds_up(cpus, on_demand):
    """The shares of all maps and what does not grow are the whole, and no share is less than the kernel takes."""
    machine, specs = SizingMachine(cpus, on_demand), {spec.name: spec for spec in ALL}
    sizes = sizes_for(ALL, BUDGET, machine)
    taken = shares(specs.values(), sizes, machine)
    real = {name: kernel_bytes(spec, sizes, machine) for name, spec in specs.items()}

    assert sizes.bytes == sum(taken.values()) + FIXED
    assert {} == {name: size for name, size in taken.items() if size < real[name]}


def test_shared_maps_do_not_multiply_by_processors():
    """From 64 to 256 processors: less than a MiB, where values per processor would take four times as much."""
    few, many = (sizes_for(ALL, BUDGET, SizingMachine(cpus)) for cpus in (64, 256))

    assert all(many.entries[spec.name] > 0.9 * few.entries[spec.name] for spec in ALL)
    assert many.bytes - few.bytes < MIB


def test_where_the_reserves_would_eat_the_budget_elements_are_made_beforehand():
    """On few processors they are made on demand, because then empty maps cost nothing."""
    few, many = (sizes_for(ALL, BUDGET, SizingMachine(cpus)) for cpus in (8, 64))

    assert (False, True) == (few.preallocated, many.preallocated)


@given(st.integers(5 * MIB, 1 << 32), st.integers(1, 1024), st.booleans())
def test_no_budget_is_exceeded(budget, cpus, on_demand):
    """Whatever the machine, and every map works."""
    sizes = sizes_for(ALL, budget, SizingMachine(cpus, on_demand))

    assert sizes.bytes <= budget
    assert all(sizes.entries[spec.name] >= 64 for spec in ALL)
    places = [sizes.entries[f"near_{spec.name}"] for spec in ALL if spec.near]
    assert all(each >= 16 and each.bit_count() == 1 for each in places)


@given(st.integers(0, 200_000), st.integers(1, 4096), st.booleans())
def test_a_budget_that_is_too_small_is_refused_with_one_that_is_not(budget, cpus, on_demand):
    """The least that is named can be given; what was given is named as it was given."""
    with pytest.raises(ValueError, match=f'"{budget}" bytes are too few for these probes') as caught:
        sizes_for(ALL, budget, SizingMachine(cpus, on_demand))
    least = 1024 * int(str(caught.value).split('"')[3].removesuffix("KiB"))

    assert sizes_for(ALL, least, SizingMachine(cpus, on_demand)).bytes <= least


@given(st.integers(1, 1 << 50), st.integers(1, 512), st.booleans())
def test_maps_are_never_larger_than_the_kernel_can_make(budget, cpus, on_demand):
    """2^27 entries and 4 GiB each; a larger budget is refused with one that is not."""
    machine = SizingMachine(cpus, on_demand)
    try:
        sizes = sizes_for(ALL, budget, machine)
    except ValueError as error:
        [advised] = re.findall(r'give at (?:least|most) "(\w+)"', str(error))
        sizes = sizes_for(ALL, parse_bytes(advised), machine)

    assert max(sizes.entries.values()) <= 1 << 27
    assert max(shares(ALL, sizes, machine).values()) < (1 << 32) + (64 << 20)  # with what processors keep in reserve


def test_a_budget_that_no_kernel_can_use_is_refused():
    """In the words of the setting."""
    with pytest.raises(
        ValueError, match=r'"100TiB" is more than the kernel can use for maps; give at most "[0-9]+MiB"'
    ):
        sizes_for(ALL, 100 << 40, SizingMachine(2))


def test_a_map_without_a_size_is_taken_for_a_large_one():
    """A third party's probe cannot break the budget by silence."""
    silent = [MapSpec("silent", "silent", 1 << 20, "no size told")]

    assert sizes_for(silent, BUDGET, SizingMachine(2)).entries["silent"] < BUDGET // 1024


@pytest.mark.parametrize(
    ("machine", "release", "alignment"),
    [("aarch64", (6, 1), 128), ("aarch64", (6, 5), 8), ("x86_64", (6, 1), 8)],
)
def test_older_kernels_for_arm64_make_coarser_blocks(machine, release, alignment):
    """Cache lines there can be 128 bytes long; from 6.5 on only what devices write is kept apart by them."""
    assert alignment == alignment_of(machine, release)


@pytest.mark.parametrize(("text", "cpus"), [("0-1\n", 2), ("0\n", 1), ("0-63,128-191\n", 192), (None, 1)])
def test_possible_processors_are_read_from_sys(tmp_path, text, cpus):
    """Ranges; the highest number counts, because the kernel's tables go up to it."""
    if text:
        (tmp_path / "devices/system/cpu").mkdir(parents=True)
        (tmp_path / "devices/system/cpu/possible").write_text(text)

    assert cpus == possible_cpus(tmp_path)
