# SPDX-License-Identifier: Apache-2.0
"""Which way into the kernel each hook can take here, and the macros that tell the C code. The kernel is passed in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ebpf_sidecar.receivers.ebpf.kernel.refusals import release_of
from ebpf_sidecar.receivers.ebpf.probe.model import BY_BTF, ON_FUNCTIONS

from .refusal import NO_OBJECTION, Why, joined
from .request import HookRequest, LoadRequest, Way

_NO_PREALLOC = 1
SAFE_ON_DEMAND = (6, 1)
"""From here on tracing programs may fill maps on demand; before, check_map_prog_compatibility warned."""
_REGISTERS_HELPER = (5, 15)  # bpf_task_pt_regs
_OWNER_FIELDS = ("task_struct.group_leader", "task_struct.comm")
_CGROUP_FIELDS = ("task_struct.cgroups", "css_set.subsys", "cgroup_subsys_state.cgroup", "cgroup.kn", "kernfs_node.id")
_SUBSYSTEM = {"blkio": "io"}  # the name that the kernel's code kept for users of v1


class Types(Protocol):
    """What the kernel knows of its types; see `Btf`."""

    def offset(self, struct_name: str, field: str) -> int | None:
        """Bytes from the struct's begin to the field."""

    def tracepoint_arguments(self, event: str) -> tuple[str, ...] | None:
        """The named types behind the arguments of a raw tracepoint."""

    def enumerator(self, name: str) -> int | None:
        """The value of an enum's constant."""


class Events(Protocol):
    """Where one can hook in; see `Tracefs`."""

    def has(self, event: str) -> bool:
        """Whether the kernel has ``category:name``."""

    def why_no_kprobes(self) -> str:
        """Why functions cannot be hooked by breakpoints; empty when they can."""

    def why_not_function(self, name: str) -> str:
        """Why the kernel's function cannot be hooked in any way; empty when it can."""

    def fields(self, event: str) -> tuple[str, ...]:
        """The tracepoint's fields."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The usable ways of a hook, best first, and why the others are not."""

    hook: HookRequest
    ways: tuple[Way, ...]
    reason: str
    brief: str = ""
    """The reason in a few words."""


@dataclass(frozen=True, slots=True)
class Plan:
    """``cgroup_hierarchy``: where ids come from really: ``v2`` when the kernel does not tell where v1's are.

    ``own``: of hooks that belong to no probe.
    """

    choices: tuple[Choice, ...]
    own: tuple[Choice, ...]
    macros: Mapping[str, str]
    cgroup_hierarchy: str


def make_plan(request: LoadRequest, events: Events, types: Types | None, release: tuple[int, int]) -> Plan:
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
        for way in choice.ways:
            macros.update(_way_macros(way, events, types))
    return Plan(choices, own, macros, request.cgroup_hierarchy if cgroup else "v2")


def _choose(hook: HookRequest, events: Events, types: Types | None, release: tuple[int, int]) -> Choice:
    missing = {way: _missing(way, events, types, release) for way in hook.ways}
    usable = tuple(way for way in hook.ways if not missing[way])
    why = joined(missing.values())
    return Choice(hook, usable, why.full, why.brief)


def _missing(way: Way, events: Events, types: Types | None, release: tuple[int, int]) -> Why:
    if way.until and release >= release_of(way.until):
        return Why(f"no {way.attach} from {way.until} on", f"{way.attach} {way.event} loses events from {way.until} on")
    absent = _absent(way, events)
    if absent:
        return absent
    if (way.btf or way.attach in BY_BTF) and types is None:
        needs = "needs the kernel's type information (CONFIG_DEBUG_INFO_BTF), which this kernel lacks"
        return Why("no BTF", f"{way.event} {needs}")
    fields = [field for field in way.btf if types and _number(field, types) is None]
    if fields:
        names = " and ".join(fields)
        return Why(f"no field {names}", f"this kernel has no field {names}, needed at {way.event}")
    passed = (types and types.tracepoint_arguments(_event(way))) or ()
    wanted = " and ".join(name for name in way.arguments if name not in passed)
    return Why(f"no {wanted}", f"{way.event} passes no {wanted} on this kernel") if wanted else NO_OBJECTION


def _absent(way: Way, events: Events) -> Why:
    """Why there is nothing of that name to hook; empty when there is."""
    if way.attach in ON_FUNCTIONS:
        by_breakpoint = way.attach not in BY_BTF
        if by_breakpoint and (why := events.why_no_kprobes()):
            return Why("no kprobes", why)
        return Why(f"no function {way.event}", events.why_not_function(way.event))
    if way.attach == "perf_event" or events.has(way.event):
        return NO_OBJECTION
    since = f" (it came with {way.since})" if way.since else ""
    return Why(f"no tracepoint {way.event}", f"this kernel has no tracepoint {way.event}{since}")


def _way_macros(way: Way, events: Events, types: Types | None) -> dict[str, str]:
    event = _event(way)
    macros = {f"HAVE_{way.program.upper()}": "1", **_offsets(way.btf, types)}
    if way.attach == "tracepoint":
        return macros | {f"FIELD_{event}_{name}".upper(): "1" for name in events.fields(way.event)}
    if way.attach != "raw_tracepoint":
        return macros
    arguments = (types and types.tracepoint_arguments(event)) or ()
    return macros | {_macro(f"ARG_{event}_{name}"): str(i) for i, name in enumerate(arguments) if name}


def _event(way: Way) -> str:
    return way.event.partition(":")[2]


def _offsets(fields: tuple[str, ...], types: Types | None) -> dict[str, str]:
    """The macros of fields (``struct.field``) and of an enum's constants, where the kernel has them."""
    found = {field: _number(field, types) for field in fields} if types else {}
    kinds = {True: "OFFSET", False: "ENUM"}
    return {
        _macro(f"{kinds['.' in field]}_{field}"): str(number) for field, number in found.items() if number is not None
    }


def _registers(release: tuple[int, int], types: Types | None) -> dict[str, str]:
    """How to find the registers that a thread had when it entered the kernel: by a helper, or in its kernel stack."""
    return {"HAVE_TASK_PT_REGS": "1"} if release >= _REGISTERS_HELPER else _offsets(("task_struct.stack",), types)


def _cgroup_macros(hierarchy: str, types: Types | None) -> dict[str, str]:
    if hierarchy == "v2" or types is None:
        return {}
    subsystem = types.enumerator(f"{_SUBSYSTEM.get(hierarchy, hierarchy)}_cgrp_id")
    offsets = _offsets(_CGROUP_FIELDS, types)
    if subsystem is None or len(offsets) < len(_CGROUP_FIELDS):
        return {}
    return {**offsets, "CGROUP_SUBSYSTEM": str(subsystem)}


def _number(field: str, types: Types) -> int | None:
    name, dot, member = field.partition(".")
    return types.offset(name, member) if dot else types.enumerator(name)


def _macro(text: str) -> str:
    return re.sub(r"_+", "_", re.sub(r"\W", "_", text)).upper()
