# SPDX-License-Identifier: Apache-2.0
"""Creates the maps of one compiled object and attaches its hooks one by one, so that one refusal does not stop
others."""

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
from ebpf_sidecar.receivers.ebpf.loading.refusal import NO_REASON, LoadRefused, Reason, joined
from ebpf_sidecar.receivers.ebpf.loading.request import HookRequest
from ebpf_sidecar.receivers.ebpf.probe.model import BY_BTF, AttachPoint

from .attaching import BY_BPF, attach
from .bytecode import Bytecode
from .kernel_objects import Program, RefusedProgramError, create_map, load_program


@dataclass(frozen=True, slots=True)
class RunningKernel:
    """What is known about the running kernel. ``privileges``: ours."""

    tracefs: Tracefs
    types: Btf | None
    privileges: why.ProcessPrivileges


@dataclass
class ProgramLoader:
    """``maps``: descriptors in the order of the bytecode's. ``programs``, ``attachments``: descriptors by program."""

    bytecode: Bytecode
    maps: Sequence[int]
    kernel: RunningKernel
    programs: dict[str, int] = field(default_factory=dict)
    attachments: dict[str, list[int]] = field(default_factory=dict)
    refusals: dict[str, Reason] = field(default_factory=dict)
    failure: why.Failure = why.Failure.ATTACH
    """Why the first program was refused."""

    def attach_all(self, choices: Sequence[Choice]) -> list[dict[str, Any]]:
        """The hooks' status in the order of ``choices``.

        Hooks at functions are tried last, when it is known what works.
        """
        order = sorted(range(len(choices)), key=lambda at: any(point.attach in BY_BTF for point in choices[at].usable))
        found = {at: self._attach_by_any(choices[at]) for at in order}
        return [found[at] for at in range(len(choices))]

    def _attach_by_any(self, choice: Choice) -> dict[str, Any]:
        """The status of the hook: attached at the first attach point that works, or the reasons of all."""
        reasons = [Reason(choice.brief, choice.reason)]
        for point in choice.usable:
            why = self._attach(point)
            if not why:
                return status(choice.hook, point, NO_REASON)
            reasons.append(why)
        return status(choice.hook, None, joined(reasons))

    def _attach(self, point: AttachPoint) -> Reason:
        """Why it is not attached, `NO_REASON` if it is. A program shared by several probes is attached once."""
        if point.program in self.programs:
            return NO_REASON
        if point.program not in self.refusals:
            self.refusals[point.program] = self._try(point)
        return self.refusals[point.program]

    def _try(self, point: AttachPoint) -> Reason:
        try:
            self._load_and_attach(point)
        except LoadRefused as refusal:
            found = refusal.problem
            if found.failure is why.Failure.DESCRIPTORS:  # the limit of this process, so all others would fail as well
                raise
            if point.attach in BY_BTF and self.programs:
                found = why.refused_attach_type(found, point.attach)
            self.failure = self.failure if self.refusals else found.failure
            return Reason(
                f"{point.attach} {why.BRIEFLY[found.failure]}", f"{point.attach} {point.event}: {found.message}"
            )
        return NO_REASON

    def _load_and_attach(self, point: AttachPoint) -> None:
        program = self._load(point)
        try:
            self.attachments[point.program] = attach(program, point, self.kernel.tracefs)
        except OSError as error:
            os.close(program)
            call = "bpf" if point.attach in BY_BPF else "perf_event_open"
            raise LoadRefused(why.after_refusal(call, error.errno or 0, self.kernel.privileges)) from error
        self.programs[point.program] = program

    def _load(self, point: AttachPoint) -> int:
        code = self.bytecode.linked(point.program, self.maps)
        try:
            return load_program(Program(point.program, point.attach, code, self.bytecode.license, self._target(point)))
        except RefusedProgramError as error:
            found = why.after_load(point.program, error.errno or 0, self.kernel.privileges, error.log)
            raise LoadRefused(found) from error

    def _target(self, point: AttachPoint) -> int:
        """The BTF id of the function that the program attaches to; 0 if there is none."""
        if point.attach not in BY_BTF or self.kernel.types is None:
            return 0
        return self.kernel.types.function(point.event) or 0


def status(hook: HookRequest, point: AttachPoint | None, why: Reason) -> dict[str, Any]:
    """A hook's status as the parent expects it."""
    taken = {"program": point.program, "way": f"{point.attach} {point.event}"} if point else {"program": "", "way": ""}
    return {"probe": hook.probe, "hook": hook.name, **taken, "reason": why.full, "brief": why.brief}


def create_maps(bytecode: Bytecode, privileges: why.ProcessPrivileges) -> list[int]:
    """Descriptors of new maps, in the bytecode's order. Raises `LoadRefused`."""
    why.raise_memlock(privileges)
    try:
        return [create_map(layout) for layout in bytecode.maps]
    except OSError as error:
        raise LoadRefused(why.after_refusal("bpf", error.errno or errno.EINVAL, privileges)) from error


def by_name(bytecode: Bytecode, maps: Sequence[int]) -> Mapping[str, int]:
    """``maps`` by name."""
    return {layout.name: descriptor for layout, descriptor in zip(bytecode.maps, maps, strict=True)}
