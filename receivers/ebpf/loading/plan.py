# SPDX-License-Identifier: Apache-2.0
"""Decides which attach point each hook can use here, and the macros for the C code. The kernel is passed in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ebpf_sidecar.receivers.ebpf.kernel.refusals import release_of
from ebpf_sidecar.receivers.ebpf.probe.model import BY_BTF, ON_FUNCTIONS, AttachPoint

from .refusal import NO_REASON, Reason, joined
from .request import HookRequest, LoadRequest

_NO_PREALLOC = 1
SAFE_ON_DEMAND = (6, 1)
"""Since this release tracing programs may use maps without preallocation; before, check_map_prog_compatibility
warned."""
_REGISTERS_HELPER = (5, 15)  # bpf_task_pt_regs
_OWNER_FIELDS = ("task_struct.group_leader", "task_struct.comm")
_CGROUP_FIELDS = ("task_struct.cgroups", "css_set.subsys", "cgroup_subsys_state.cgroup", "cgroup.kn", "kernfs_node.id")
_SUBSYSTEM = {"blkio": "io"}  # the name for v1 users that the kernel's code kept


class KernelTypes(Protocol):
    """The kernel's type information; see `Btf`."""

    def offset(self, struct_name: str, field: str) -> int | None:
        """The field's offset in bytes."""

    def tracepoint_arguments(self, event: str) -> tuple[str, ...] | None:
        """The names of the types that a raw tracepoint's arguments point to."""

    def enumerator(self, name: str) -> int | None:
        """The value of an enum's constant."""


class KernelEvents(Protocol):
    """What can be hooked; see `Tracefs`."""

    def has(self, event: str) -> bool:
        """Whether the kernel has ``category:name``."""

    def why_no_kprobes(self) -> str:
        """Why kprobes are unavailable; empty if they are available."""

    def why_not_function(self, name: str) -> str:
        """Why the kernel function cannot be hooked in any way; empty if it can."""

    def fields(self, event: str) -> tuple[str, ...]:
        """The tracepoint's fields."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The usable attach points of a hook, best first, and why the others are not usable."""

    hook: HookRequest
    usable: tuple[AttachPoint, ...]
    reason: str
    brief: str = ""
    """The reason in a few words."""


@dataclass(frozen=True, slots=True)
class Plan:
    """``cgroup_hierarchy``: where ids actually come from: ``v2`` if the kernel's BTF does not describe v1's.

    ``own``: choices of hooks that belong to no probe.
    """

    choices: tuple[Choice, ...]
    own: tuple[Choice, ...]
    macros: Mapping[str, str]
    cgroup_hierarchy: str


def make_plan(request: LoadRequest, events: KernelEvents, types: KernelTypes | None, release: tuple[int, int]) -> Plan:
    """What to compile and attach for ``request`` on a kernel with these events and types."""
    choices = tuple(_choose(hook, events, types, release) for hook in request.hooks)
    own = tuple(_choose(hook, events, types, release) for hook in request.own_hooks)
    cgroup = _cgroup_macros(request.cgroup_hierarchy, types)
    macros: dict[str, str] = {
        **{name: str(value) for name, value in request.macros.items()},
        **{f"PROBE_{name.upper()}": "1" for name in request.probes},
        **{f"DROPPED_{reason.upper()}": str(i) for i, reason in enumerate(request.drop_reasons)},
        "RELEASE": str(100 * release[0] + release[1]),
        "DROP_REASONS": str(max(1, len(request.drop_reasons))),
        "MAP_FLAGS": str(_NO_PREALLOC if release >= SAFE_ON_DEMAND and not request.preallocate else 0),
        **({"KEY_BY_PROCESS": "1"} if request.by_process else {}),
        **_offsets((*request.btf, *_OWNER_FIELDS), types),
        **_registers(release, types),
        **cgroup,
    }
    for choice in (*choices, *own):
        for point in choice.usable:
            macros.update(_point_macros(point, events, types))
    return Plan(choices, own, macros, request.cgroup_hierarchy if cgroup else "v2")


def _choose(hook: HookRequest, events: KernelEvents, types: KernelTypes | None, release: tuple[int, int]) -> Choice:
    missing = {point: _missing(point, events, types, release) for point in hook.alternatives}
    usable = tuple(point for point in hook.alternatives if not missing[point])
    why = joined(missing.values())
    return Choice(hook, usable, why.full, why.brief)


def _missing(point: AttachPoint, events: KernelEvents, types: KernelTypes | None, release: tuple[int, int]) -> Reason:
    if point.until and release >= release_of(point.until):
        return Reason(
            f"no {point.attach} from {point.until} on",
            f"{point.attach} {point.event} loses events from {point.until} on",
        )
    absent = _absent(point, events)
    if absent:
        return absent
    if (point.btf or point.attach in BY_BTF) and types is None:
        needs = "needs the kernel's type information (CONFIG_DEBUG_INFO_BTF), which this kernel lacks"
        return Reason("no BTF", f"{point.event} {needs}")
    fields = [field for field in point.btf if types and _number(field, types) is None]
    if fields:
        names = " and ".join(fields)
        return Reason(f"no field {names}", f"this kernel has no field {names}, needed at {point.event}")
    passed = (types and types.tracepoint_arguments(_event(point))) or ()
    wanted = " and ".join(name for name in point.arguments if name not in passed)
    return Reason(f"no {wanted}", f"{point.event} passes no {wanted} on this kernel") if wanted else NO_REASON


def _absent(point: AttachPoint, events: KernelEvents) -> Reason:
    """Why there is nothing of that name to hook; empty if there is."""
    if point.attach in ON_FUNCTIONS:
        by_breakpoint = point.attach not in BY_BTF
        if by_breakpoint and (why := events.why_no_kprobes()):
            return Reason("no kprobes", why)
        return Reason(f"no function {point.event}", events.why_not_function(point.event))
    if point.attach == "perf_event" or events.has(point.event):
        return NO_REASON
    since = f" (it came with {point.since})" if point.since else ""
    return Reason(f"no tracepoint {point.event}", f"this kernel has no tracepoint {point.event}{since}")


def _point_macros(point: AttachPoint, events: KernelEvents, types: KernelTypes | None) -> dict[str, str]:
    event = _event(point)
    macros = {f"HAVE_{point.program.upper()}": "1", **_offsets(point.btf, types)}
    if point.attach == "tracepoint":
        return macros | {f"FIELD_{event}_{name}".upper(): "1" for name in events.fields(point.event)}
    if point.attach != "raw_tracepoint":
        return macros
    arguments = (types and types.tracepoint_arguments(event)) or ()
    return macros | {_macro(f"ARG_{event}_{name}"): str(i) for i, name in enumerate(arguments) if name}


def _event(point: AttachPoint) -> str:
    return point.event.partition(":")[2]


def _offsets(fields: tuple[str, ...], types: KernelTypes | None) -> dict[str, str]:
    """The macros of fields (``struct.field``) and of an enum's constants, where the kernel has them."""
    found = {field: _number(field, types) for field in fields} if types else {}
    kinds = {True: "OFFSET", False: "ENUM"}
    return {
        _macro(f"{kinds['.' in field]}_{field}"): str(number) for field, number in found.items() if number is not None
    }


def _registers(release: tuple[int, int], types: KernelTypes | None) -> dict[str, str]:
    """How to find a thread's registers at kernel entry: with a helper, or in its kernel stack."""
    return {"HAVE_TASK_PT_REGS": "1"} if release >= _REGISTERS_HELPER else _offsets(("task_struct.stack",), types)


def _cgroup_macros(hierarchy: str, types: KernelTypes | None) -> dict[str, str]:
    if hierarchy == "v2" or types is None:
        return {}
    subsystem = types.enumerator(f"{_SUBSYSTEM.get(hierarchy, hierarchy)}_cgrp_id")
    offsets = _offsets(_CGROUP_FIELDS, types)
    if subsystem is None or len(offsets) < len(_CGROUP_FIELDS):
        return {}
    return {**offsets, "CGROUP_SUBSYSTEM": str(subsystem)}


def _number(field: str, types: KernelTypes) -> int | None:
    name, dot, member = field.partition(".")
    return types.offset(name, member) if dot else types.enumerator(name)


def _macro(text: str) -> str:
    return re.sub(r"_+", "_", re.sub(r"\W", "_", text)).upper()
