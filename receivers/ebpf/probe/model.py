# SPDX-License-Identifier: Apache-2.0
"""The content of a probe's YAML as immutable data. `file.py` reads it; nothing here knows the kernel.

The loader child imports this, so it must not import pydantic: how the YAML is written is in `shapes.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal, get_args

MetricKind = Literal["counter", "gauge", "histogram", "updowncounter"]
AttachKind = Literal["tracepoint", "raw_tracepoint", "kprobe", "kretprobe", "fentry", "fexit", "perf_event"]
SettingType = Literal["syscalls", "words", "integer"]
CallField = Literal["follow", "cause", "timed", "direction", "advice", "restarts", "resumes", "descriptor"]
ATTACH_KINDS: tuple[AttachKind, ...] = get_args(AttachKind)
ON_FUNCTIONS: tuple[AttachKind, ...] = ("kprobe", "kretprobe", "fentry", "fexit")
PERF_EVENTS: Mapping[str, int] = {"page_faults_min": 5, "page_faults_maj": 6}
"""The kernel's software events that a program can count one by one (perf_event_open(2))."""
CALL_FIELDS: tuple[CallField, ...] = get_args(CallField)
"""The bytes of ``struct call`` in bpf/thread.h that a probe may set, in their order."""
BY_BTF: tuple[AttachKind, ...] = ("fentry", "fexit")
"""Types of attach points at functions that the kernel finds by BTF; the program is loaded for one function."""
DECODERS = ("syscall", "errno", "device")
ELSE = "else"
"""The key in a table of words that stands for all other values."""


@dataclass(frozen=True, slots=True)
class AttachPoint:
    """One place where a hook can be attached: ``event`` is ``category:name``, or a function (`ON_FUNCTIONS`) or perf
    event.

    ``since``: the release that introduced it, for documentation. ``until``: the release from which it is not used even
    if it exists. ``btf``: fields (``struct.field``) and enum constants that it requires; ``arguments``: named types
    that must be among a raw tracepoint's arguments, which differ between kernels.
    """

    attach: AttachKind
    event: str
    program: str
    since: str = ""
    until: str = ""
    commit: str = ""
    btf: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ShownBy:
    """A ``metric`` that is above 0 only after the hook has fired, in the rows with the attributes ``where``."""

    metric: str
    where: Mapping[str, str] = field(default_factory=dict)


NO_ACTION = "none"
"""For hooks that must not be triggered on purpose."""


class Action(StrEnum):
    """The actions that can trigger hooks (see `canary_actions`)."""

    PROCESS = "process"
    """A process starts, executes a file and exits."""
    SIGNAL = "signal"
    """A signal is delivered to a handler."""
    LOOKUP = "lookup"
    """A read system call looks a page up in the page cache."""
    ADD = "add"
    """A page is added to the page cache."""
    REMOVE = "remove"
    """A page is removed from it."""
    FAULT = "fault"
    """A mapped page that is not in memory is touched."""
    DIRTY = "dirty"
    """A page in the cache is written to."""
    WRITEBACK = "writeback"
    """A dirty page is written to the disk."""
    REQUEST = "request"
    """The disk gets a request and completes it."""
    QUEUE = "queue"
    """The request waits in an I/O scheduler's queue."""


@dataclass(frozen=True, slots=True)
class CanarySpec:
    """How to check that a hook fires: the harmless ``action`` that must trigger it, an `Action` or ``none``.

    ``moves``: what then increases, as ``map.field``, in case the kernel does not count the programs' runs; empty: no
    map shows it. ``reason``: why the action is ``none``; ``shown_by`` may then show that the hook fired by itself.
    """

    action: str
    moves: str = ""
    reason: str = ""
    shown_by: ShownBy | None = None


@dataclass(frozen=True, slots=True)
class ProbeHook:
    """A hook, attached at the first of ``alternatives`` that this kernel has."""

    name: str
    alternatives: tuple[AttachPoint, ...]
    reason: str = ""
    canary: CanarySpec | None = None


@dataclass(frozen=True, slots=True)
class MapSpec:
    """A kernel map: ``name`` in C, ``published`` to users; ``entries`` assume a budget of 16 MiB for all maps.

    ``key`` and ``value``: the most bytes of each, 0 if the probe does not say. ``near``: entries of the near map
    ``near_<name>`` (near.h), a power of two; 0 if it has none. ``array``: it is an array, allocated as a whole from the
    start, whose entries are a power of two, and that only the kernel reads.
    """

    name: str
    published: str
    entries: int
    reason: str
    key: int = 0
    value: int = 0
    near: int = 0
    array: bool = False


@dataclass(frozen=True, slots=True)
class Calls:
    """What the shared programs do for the system calls ``names`` (or ``$setting``, the setting that lists them)."""

    names: tuple[str, ...] | str
    set: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Setting:
    """A user setting: ``syscalls`` (a list of names), ``words`` (a list of some of ``words``) or ``integer`` (becomes a
    macro of the same name)."""

    name: str
    type: SettingType
    default: tuple[str, ...] | int
    description: str
    words: tuple[str, ...] = ()


_ELEMENT = re.compile(r"(\w+)\[(\d+)\]")


def field_and_element(column: str) -> tuple[str, int | None]:
    """The field of a column, and the index if the field is an array (``adds[2]``)."""
    element = _ELEMENT.fullmatch(column)
    return (element[1], int(element[2])) if element else (column, None)


@dataclass(frozen=True, slots=True)
class Sum:
    """A value that is the sum of columns: ``lookups``, or ``adds[2]`` for one element of an array.

    ``minus``: columns to subtract, for values that go up and down; the result is never below 0, which reading a
    changing map could yield.
    """

    columns: tuple[str, ...]
    minus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Spread:
    """One row per element of the array ``field``, distinguished by ``attribute`` with ``values`` in the array's
    order."""

    field: str
    attribute: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Slots:
    """A histogram: the array ``slots`` and the column ``sum``.

    The upper bound of slot *i* is ``scale * 2 ** (lowest_exponent + i)``, inclusive; the last slot has none.
    ``default_exponents``: those of the bounds that exporters use by default; empty: all.
    """

    slots: str
    sum: str
    lowest_exponent: int
    scale: float
    default_exponents: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Distinct:
    """The number of distinct keys, whatever their generation, whose column ``field`` increased since the last
    reading."""

    field: str


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of a metric from a key's field; ``decode`` is a decoder's name or a table of words by value.

    ``only``: the setting (``$name``) that lists which words are part of the metric, besides the empty one; ``btf``:
    fields that it requires; without them the attribute is absent everywhere.
    """

    name: str
    field: str
    decode: str | Mapping[int | str, str]
    only: str = ""
    btf: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric; absent if one of its ``hooks`` (names) is not attached."""

    name: str
    kind: MetricKind
    unit: str
    description: str
    reading: str
    map: str
    hooks: tuple[str, ...]
    value: Sum | Spread | Slots | Distinct
    attributes: tuple[Attribute, ...] = ()


@dataclass(frozen=True, slots=True)
class Probe:
    """A pair of files: ``path`` is the YAML, and the C file is next to it.

    ``programs``: shared C files that call its handlers.
    """

    name: str
    path: Path
    summary: str
    reading: str
    cost: str
    stability: str
    kernel: str
    settings: tuple[Setting, ...]
    hooks: tuple[ProbeHook, ...]
    maps: tuple[MapSpec, ...]
    metrics: tuple[Metric, ...]
    calls: tuple[Calls, ...] = ()
    programs: tuple[str, ...] = ()
    btf: tuple[str, ...] = ()
    drops: tuple[str, ...] = ()
    macros: Mapping[str, int] = field(default_factory=dict)

    @property
    def source(self) -> Path:
        """The C file."""
        return self.path.with_suffix(".c")

    def map(self, name: str) -> MapSpec:
        """The map with this C name. Raises `KeyError`."""
        return next((spec for spec in self.maps if spec.name == name), None) or _missing(name)


def _missing(name: str) -> MapSpec:
    raise KeyError(name)
