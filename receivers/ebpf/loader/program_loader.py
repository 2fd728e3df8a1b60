# SPDX-License-Identifier: Apache-2.0
"""Creates the maps of one compiled object and attaches its hooks one by one, so that one refusal stops no other."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ebpf_sidecar.receivers.ebpf.kernel import refusals as why
from ebpf_sidecar.receivers.ebpf.kernel.btf import Btf
from ebpf_sidecar.receivers.ebpf.kernel.tracefs import Tracefs
from ebpf_sidecar.receivers.ebpf.loading.plan import Choice
from ebpf_sidecar.receivers.ebpf.loading.refusal import NO_OBJECTION, Refused, Why, joined
from ebpf_sidecar.receivers.ebpf.loading.request import HookRequest, Way
from ebpf_sidecar.receivers.ebpf.probe.model import BY_BTF

from .attaching import BY_BPF, attach
from .bytecode import Bytecode
from .kernel_objects import Program, RefusedProgramError, create_map, load_program


@dataclass(frozen=True, slots=True)
class Kernel:
    """What is known of the running one. ``standing``: what we may do there."""

    tracefs: Tracefs
    types: Btf | None
    standing: why.Standing


@dataclass
class ProgramLoader:
    """``maps``: descriptors in the order of the bytecode's. ``programs``, ``attachments``: descriptors by program."""

    bytecode: Bytecode
    maps: Sequence[int]
    kernel: Kernel
    programs: dict[str, int] = field(default_factory=dict)
    attachments: dict[str, list[int]] = field(default_factory=dict)
    refusals: dict[str, Why] = field(default_factory=dict)
    failure: why.Failure = why.Failure.ATTACH
    """Why the first program was refused."""

    def attach_all(self, choices: Sequence[Choice]) -> list[dict[str, Any]]:
        """The hooks' status in the order of ``choices``.

        Those at functions are tried last, when it is known what works.
        """
        order = sorted(range(len(choices)), key=lambda at: any(way.attach in BY_BTF for way in choices[at].ways))
        found = {at: self._attach_by_any(choices[at]) for at in order}
        return [found[at] for at in range(len(choices))]

    def _attach_by_any(self, choice: Choice) -> dict[str, Any]:
        """The status of the hook: attached by the first way that works, or the reasons of all."""
        reasons = [Why(choice.brief, choice.reason)]
        for way in choice.ways:
            why = self._attach(way)
            if not why:
                return status(choice.hook, way, NO_OBJECTION)
            reasons.append(why)
        return status(choice.hook, None, joined(reasons))

    def _attach(self, way: Way) -> Why:
        """No objection when attached, else why not. A program shared by several probes is attached once."""
        if way.program in self.programs:
            return NO_OBJECTION
        if way.program not in self.refusals:
            self.refusals[way.program] = self._try(way)
        return self.refusals[way.program]

    def _try(self, way: Way) -> Why:
        try:
            self._load_and_attach(way)
        except Refused as refusal:
            found = refusal.diagnosis
            if found.failure is why.Failure.DESCRIPTORS:  # of this process, so that all others would fail as well
                raise
            if way.attach in BY_BTF and self.programs:
                found = why.refused_way(found, way.attach)
            self.failure = self.failure if self.refusals else found.failure
            return Why(f"{way.attach} {why.BRIEFLY[found.failure]}", f"{way.attach} {way.event}: {found.message}")
        return NO_OBJECTION

    def _load_and_attach(self, way: Way) -> None:
        program = self._load(way)
        try:
            self.attachments[way.program] = attach(program, way, self.kernel.tracefs)
        except OSError as error:
            os.close(program)
            call = "bpf" if way.attach in BY_BPF else "perf_event_open"
            raise Refused(why.after_refusal(call, error.errno or 0, self.kernel.standing)) from error
        self.programs[way.program] = program

    def _load(self, way: Way) -> int:
        code = self.bytecode.linked(way.program, self.maps)
        try:
            return load_program(Program(way.program, way.attach, code, self.bytecode.license, self._target(way)))
        except RefusedProgramError as error:
            found = why.after_load(way.program, error.errno or 0, self.kernel.standing, error.log)
            raise Refused(found) from error

    def _target(self, way: Way) -> int:
        """The BTF id of the function that the program is compiled for; 0 for those that are for none."""
        if way.attach not in BY_BTF or self.kernel.types is None:
            return 0
        return self.kernel.types.function(way.event) or 0


def status(hook: HookRequest, way: Way | None, why: Why) -> dict[str, Any]:
    """A hook's status as the parent reads it."""
    taken = {"program": way.program, "way": f"{way.attach} {way.event}"} if way else {"program": "", "way": ""}
    return {"probe": hook.probe, "hook": hook.name, **taken, "reason": why.full, "brief": why.brief}


def create_maps(bytecode: Bytecode, standing: why.Standing) -> list[int]:
    """Descriptors of new maps, in the bytecode's order. Raises `Refused`."""
    why.raise_memlock(standing)
    try:
        return [create_map(layout) for layout in bytecode.maps]
    except OSError as error:
        raise Refused(why.after_refusal("bpf", error.errno or errno.EINVAL, standing)) from error


def by_name(bytecode: Bytecode, maps: Sequence[int]) -> Mapping[str, int]:
    """``maps`` by name."""
    return {layout.name: descriptor for layout, descriptor in zip(bytecode.maps, maps, strict=True)}
