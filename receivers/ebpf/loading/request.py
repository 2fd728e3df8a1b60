# SPDX-License-Identifier: Apache-2.0
"""The parent's request to the loader child, as immutable data that can be sent as JSON. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ebpf_sidecar.receivers.ebpf.probe.model import AttachPoint


@dataclass(frozen=True, slots=True)
class HookRequest:
    """A hook of a probe and where it can be attached, best first."""

    probe: str
    name: str
    alternatives: tuple[AttachPoint, ...]

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> HookRequest:
        """The inverse of `asdict` and JSON."""
        return cls(data["probe"], data["name"], tuple(map(_attach_point, data["alternatives"])))


@dataclass(frozen=True, slots=True)
class Part:
    """The C files and maps that one probe needs, some of which it may share with other probes."""

    files: tuple[str, ...]
    maps: tuple[str, ...]

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Part:
        """The inverse of `asdict` and JSON."""
        return cls(tuple(data["files"]), tuple(data["maps"]))


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """Everything that the loader needs.

    ``files``: C files in order. ``headers``: the folder that holds ``include``. ``calls``: rows of the map of that name
    by system call number. ``maps``: C names to hand over. ``drop_reasons``: in index order. ``preallocate``: whether
    maps are preallocated. ``sets``: keys (hexadecimal) to put into maps, by C name. ``parts``: by probe. ``careful``:
    compile in trial children first, because the compiler crashed before. ``program_cache``: the folder of cached
    programs; None for the default one, empty for none. ``own_hooks``: the reader's own, optional hooks; ``own``: the
    files and maps for them.
    """

    probes: tuple[str, ...]
    files: tuple[str, ...]
    headers: str
    hooks: tuple[HookRequest, ...]
    maps: tuple[str, ...]
    macros: Mapping[str, int]
    btf: tuple[str, ...]
    calls: Mapping[int, Mapping[str, int]]
    drop_reasons: tuple[str, ...]
    cgroup_hierarchy: str = "v2"
    by_process: bool = False
    strict: bool = False
    preallocate: bool = False
    careful: bool = False
    program_cache: str | None = None
    sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    parts: Mapping[str, Part] = field(default_factory=dict)
    own_hooks: tuple[HookRequest, ...] = ()
    own: Part = Part((), ())

    def only(self, probes: Collection[str]) -> LoadRequest:
        """The same for some of the probes."""
        kept = [part for name, part in self.parts.items() if name in probes]
        lost = [part for name, part in self.parts.items() if name not in probes]
        files = {file for part in lost for file in part.files} - {file for part in kept for file in part.files}
        maps = {name for part in lost for name in part.maps} - {name for part in kept for name in part.maps}
        return replace(
            self,
            probes=tuple(name for name in self.probes if name in probes),
            files=tuple(file for file in self.files if file not in files),
            hooks=tuple(hook for hook in self.hooks if hook.probe in probes),
            maps=tuple(name for name in self.maps if name not in maps),
            calls=self.calls if "calls" not in maps else {},
        )

    def without_own(self) -> LoadRequest:
        """The same without the reader's own files, maps and hooks."""
        return replace(
            self,
            files=tuple(file for file in self.files if file not in self.own.files),
            maps=tuple(name for name in self.maps if name not in self.own.maps),
            own_hooks=(),
            own=Part((), ()),
        )

    def to_json(self) -> dict[str, Any]:
        """A dict of plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> LoadRequest:
        """The inverse of `to_json`, after a trip through JSON."""
        hooks = {key: tuple(map(HookRequest.from_json, data[key])) for key in ("hooks", "own_hooks")}
        calls = {int(number): fields for number, fields in data["calls"].items()}
        sequences = {key: tuple(data[key]) for key in ("probes", "files", "maps", "btf", "drop_reasons")}
        sets = {name: tuple(keys) for name, keys in data["sets"].items()}
        parts = {name: Part.from_json(part) for name, part in data["parts"].items()}
        own = Part.from_json(data["own"])
        return cls(**{**data, **sequences, **hooks, "calls": calls, "sets": sets, "parts": parts, "own": own})


def _attach_point(data: dict[str, Any]) -> AttachPoint:
    return AttachPoint(**{**data, "btf": tuple(data["btf"]), "arguments": tuple(data["arguments"])})
