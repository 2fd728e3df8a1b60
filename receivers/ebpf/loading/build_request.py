# SPDX-License-Identifier: Apache-2.0
"""Builds the load request from probes and the user's settings for them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ebpf_sidecar.pipeline.config.pydantic_messages import quoted
from ebpf_sidecar.pipeline.config.yaml_document import Location
from ebpf_sidecar.pipeline.errors import ConfigError, Mistake, ProbeError
from ebpf_sidecar.pipeline.suggestions import did_you_mean
from ebpf_sidecar.receivers.ebpf.kernel.refusals import release_of
from ebpf_sidecar.receivers.ebpf.kernel.syscall_table import SyscallTable, known_syscalls, syscall_table
from ebpf_sidecar.receivers.ebpf.owners.new_cgroups import NEW_CGROUPS
from ebpf_sidecar.receivers.ebpf.owners.new_names import NEW_NAMES
from ebpf_sidecar.receivers.ebpf.probe.model import Calls, Metric, Probe, Setting

from .map_sizing import BUDGET, Sizes, SizingMachine, alignment_of, near_name, possible_cpus, sizes_for
from .own_hooks import NEW_CGROUPS_HOOK, NEW_CGROUPS_MAP, NEW_NAMES_HOOKS, NEW_NAMES_MAP, OWN_BTF
from .plan import SAFE_ON_DEMAND
from .request import HookRequest, LoadRequest, Part
from .targets import CGROUPS, TARGET_CGROUPS, KernelTargets

_HEADERS = Path(__file__).resolve().parents[3] / "bpf"
_SHARED_MAPS = ("control", "drops")
ALL_TARGETS = KernelTargets()
_INTEGER_LIMIT = 1 << 63  # settings become C macros

Chosen = Mapping[str, Mapping[str, Any]]
"""The user's settings by probe name, then by setting."""


def request_for(
    probes: Sequence[Probe],
    chosen: Chosen | None = None,
    *,
    cgroup_hierarchy: str = "v2",
    by_process: bool = False,
    strict: bool = False,
    budget: int = BUDGET,
    machine: SizingMachine | None = None,
    targets: KernelTargets = ALL_TARGETS,
    program_cache: str | None = None,
) -> LoadRequest:
    """The request to measure ``targets``.

    ``budget``: bytes of kernel memory for all maps. ``machine``: the one to size maps for, by default this one. Raises
    `ConfigError` with all mistakes in ``chosen``, and `ProbeError` if the budget is too small.
    """
    chosen, machine = chosen or {}, machine or this_machine()
    _refuse_mistakes(probes, chosen)
    sizes = _sizes(probes, budget, machine, targets)
    values = {probe.name: _with_defaults(probe, chosen.get(probe.name, {})) for probe in probes}
    request = LoadRequest(
        probes=tuple(probe.name for probe in probes),
        files=_files(probes),
        headers=str(_HEADERS),
        hooks=tuple(_hook(probe, i) for probe in probes for i in range(len(probe.hooks))),
        maps=_maps(probes, targets),
        macros={**_macros(probes, values, sizes, machine), **targets.macros},
        btf=_btf(probes, targets),
        calls=_calls(probes, values, syscall_table()),
        drop_reasons=_drop_reasons(probes),
        cgroup_hierarchy=cgroup_hierarchy,
        by_process=by_process,
        strict=strict,
        preallocate=sizes.preallocated,
        program_cache=program_cache,
        sets=targets.sets,
        parts={probe.name: Part(_files([probe]), _own_maps([probe])) for probe in probes},
    )
    return _with_own(request, NEW_CGROUPS, (NEW_CGROUPS_HOOK,))


def _maps(probes: Sequence[Probe], targets: KernelTargets) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*_SHARED_MAPS, *_target_maps(targets), *_own_maps(probes)]))


def _btf(probes: Sequence[Probe], targets: KernelTargets) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*OWN_BTF, *targets.btf, *(field for probe in probes for field in _fields(probe))]))


def with_names(request: LoadRequest) -> LoadRequest:
    """The same, with programs that report processes whose name may be truncated."""
    return _with_own(request, NEW_NAMES, NEW_NAMES_HOOKS)


def _with_own(request: LoadRequest, name: str, hooks: tuple[HookRequest, ...]) -> LoadRequest:
    """The same, with a file for the reader's own use: it has the name of the map that its ``hooks`` fill."""
    file, own = str(_HEADERS / f"{name}.c"), request.own
    return replace(
        request,
        files=(*request.files, file),
        maps=(*request.maps, name),
        drop_reasons=(*request.drop_reasons, name),
        own_hooks=(*request.own_hooks, *hooks),
        own=Part((*own.files, file), (*own.maps, name)),
    )


def _refuse_mistakes(probes: Sequence[Probe], chosen: Chosen) -> None:
    mistakes = [
        Mistake("::".join(map(str, (probe.name, *at))), message)
        for probe in probes
        for at, message in check_settings(probe, chosen.get(probe.name, {}))
    ]
    if mistakes:
        raise ConfigError(mistakes)


def this_machine() -> SizingMachine:
    """The present machine, for sizing maps."""
    system = os.uname()
    release = release_of(system.release)
    return SizingMachine(possible_cpus(), release >= SAFE_ON_DEMAND, alignment=alignment_of(system.machine, release))


def sizes_of(
    probes: Sequence[Probe], budget: int, machine: SizingMachine | None = None, *, by_cgroup: bool = False
) -> Sizes:
    """How large the probes' maps may be, including the one of target cgroups (``by_cgroup``) and the reader's own.

    Raises ValueError if ``budget`` is too small for them.
    """
    specs = [NEW_CGROUPS_MAP, NEW_NAMES_MAP, *(spec for probe in probes for spec in probe.maps)]
    return sizes_for([*specs, *([CGROUPS] if by_cgroup else [])], budget, machine or this_machine())


def calls_for(probes: Sequence[Probe], chosen: Chosen) -> Mapping[int, Mapping[str, int]]:
    """What the shared programs do for each system call when these probes are active."""
    values = {probe.name: _with_defaults(probe, chosen.get(probe.name, {})) for probe in probes}
    return _calls(probes, values, syscall_table())


def check_settings(probe: Probe, chosen: Mapping[str, Any]) -> list[tuple[Location, str]]:
    """What is wrong with the user's settings for ``probe``: where below them, and ``what; what to do``."""
    known = {setting.name: setting for setting in probe.settings}
    mistakes: list[tuple[Location, str]] = []
    for name, value in chosen.items():
        if name in known:
            mistakes += (((name, *at), message) for at, message in _check(known[name], value))
        else:
            message = f'unknown setting "{name}" of probe "{probe.name}"{did_you_mean(name, known)}'
            mistakes.append(((name,), message))
    return mistakes


def with_settings(probe: Probe, chosen: Mapping[str, Any]) -> Probe:
    """The probe with its metrics' attributes restricted to the values that its settings name."""
    values = _with_defaults(probe, chosen)
    return replace(probe, metrics=tuple(_narrowed(metric, values) for metric in probe.metrics))


def _narrowed(metric: Metric, values: Mapping[str, Any]) -> Metric:
    attributes = tuple(
        replace(each, decode=_kept(each.decode, values[each.only.removeprefix("$")])) if each.only else each
        for each in metric.attributes
    )
    return replace(metric, attributes=attributes)


def _kept(decode: str | Mapping[int | str, str], words: Sequence[str]) -> str | Mapping[int | str, str]:
    if isinstance(decode, str):
        return decode
    return {value: word for value, word in decode.items() if not word or word in words}


def _check(setting: Setting, value: Any) -> Iterator[tuple[Location, str]]:
    if setting.type == "integer":
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _INTEGER_LIMIT:
            yield (), f"{quoted(value)} is not a whole number below 2^63; write digits"
    else:
        yield from (_wrong_words if setting.type == "words" else _wrong_calls)(setting, value)


def _wrong_words(setting: Setting, value: Any) -> Iterator[tuple[Location, str]]:
    if not isinstance(value, list | tuple):
        advice = value if value in setting.words else ", ".join(setting.words)
        yield (), f"{quoted(value)} is not a list of words; write [{advice}]"
        return
    for position, word in enumerate(value):
        if word not in setting.words:
            yield (position,), f"unknown word {quoted(word)}{did_you_mean(str(word), setting.words)}"


def _wrong_calls(_: Setting, value: Any) -> Iterator[tuple[Location, str]]:
    if not isinstance(value, list | tuple):
        advice = value if isinstance(value, str) else "read, write"
        yield (), f"{quoted(value)} is not a list of system calls; write [{advice}]"
        return
    known = known_syscalls()
    for position, name in enumerate(value):
        if not isinstance(name, str) or name not in known:
            yield (position,), f"unknown system call {quoted(name)}{did_you_mean(str(name), known) or '; remove it'}"


def _with_defaults(probe: Probe, chosen: Mapping[str, Any]) -> Mapping[str, Any]:
    return {setting.name: chosen.get(setting.name, setting.default) for setting in probe.settings}


def _files(probes: Sequence[Probe]) -> tuple[str, ...]:
    """The probes' own files, then the shared ones that call their handlers, each once."""
    own = [probe.source for probe in probes]
    shared = [probe.path.parent / name for probe in probes for name in probe.programs]
    return tuple(dict.fromkeys(str(path.resolve()) for path in [*own, *shared]))


def _fields(probe: Probe) -> Iterator[str]:
    """The BTF fields that its programs use if the kernel has them."""
    yield from probe.btf
    for metric in probe.metrics:
        for attribute in metric.attributes:
            yield from attribute.btf


def _hook(probe: Probe, position: int) -> HookRequest:
    hook = probe.hooks[position]
    return HookRequest(probe.name, hook.name, hook.alternatives)


def _own_maps(probes: Sequence[Probe]) -> tuple[str, ...]:
    specs = [spec for probe in probes for spec in probe.maps]
    own = [*(spec.name for spec in specs if not spec.array), *(near_name(spec.name) for spec in specs if spec.near)]
    calls = ("calls",) if any(probe.calls for probe in probes) else ()
    return (*calls, *dict.fromkeys(own))


def _target_maps(targets: KernelTargets) -> tuple[str, ...]:
    return (TARGET_CGROUPS,) if TARGET_CGROUPS.upper() in targets.macros else ()


def _sizes(probes: Sequence[Probe], budget: int, machine: SizingMachine, targets: KernelTargets) -> Sizes:
    try:
        return sizes_of(probes, budget, machine, by_cgroup=bool(_target_maps(targets)))
    except ValueError as error:
        raise ProbeError(f"max_map_memory: {error}") from error


def _macros(
    probes: Sequence[Probe], values: Mapping[str, Mapping[str, Any]], sizes: Sizes, machine: SizingMachine
) -> Mapping[str, int]:
    macros: dict[str, int] = {"PAGE_BYTES": machine.page_bytes, "PROCESSORS": machine.cpus}
    for probe in probes:
        macros.update(probe.macros)
        macros.update({name.upper(): value for name, value in values[probe.name].items() if isinstance(value, int)})
    return macros | {f"{name}_entries".upper(): entries for name, entries in sizes.entries.items()}


def _calls(
    probes: Sequence[Probe], values: Mapping[str, Mapping[str, Any]], table: SyscallTable
) -> Mapping[int, Mapping[str, int]]:
    rows: dict[int, dict[str, int]] = {}
    for probe in probes:
        for calls in probe.calls:
            for name in _names(calls, values[probe.name]):
                if name in table.numbers:  # machine types differ in the system calls they have
                    rows.setdefault(table.numbers[name], {}).update(calls.set)
    return rows


def _names(calls: Calls, values: Mapping[str, Any]) -> Sequence[str]:
    if not isinstance(calls.names, str):
        return calls.names
    names: Sequence[str] = values[calls.names.removeprefix("$")]
    return names


def _drop_reasons(probes: Sequence[Probe]) -> tuple[str, ...]:
    maps = [spec.name for probe in probes for spec in probe.maps if not spec.array]  # an array is never full
    return tuple(dict.fromkeys([*maps, *(reason for probe in probes for reason in probe.drops)]))
