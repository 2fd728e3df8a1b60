# SPDX-License-Identifier: Apache-2.0
"""How hooks are written in a probe's YAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from .model import ATTACH_KINDS, NO_ACTION, AttachPoint, CanarySpec, ProbeHook, ShownBy
from .shape import Shape, exactly_one
from .words import ActionName, Event, Function, PerfEvent, Release, Text


class AttachPointShape(Shape):
    """An alternative: one of the ways of attaching, and what it needs."""

    model_config = ConfigDict(json_schema_extra=exactly_one(ATTACH_KINDS))

    _model = AttachPoint

    tracepoint: Event = ""
    """a tracepoint, as ``category:event``"""
    raw_tracepoint: Event = ""
    """the same, without the kernel's copy of its fields"""
    kprobe: Function = ""
    """the entry of a function"""
    kretprobe: Function = ""
    """its return"""
    fentry: Function = ""
    """the entry of a function that BTF describes"""
    fexit: Function = ""
    """its return"""
    perf_event: PerfEvent = ""
    """a software event of the kernel: ``page_faults_min`` or ``page_faults_maj``"""
    program: Text
    """the C function to attach; it is compiled only where the way exists, see ``HAVE_…``"""
    since: Text = ""
    """the release that brought the event, for the reader"""
    until: Release = ""
    """the release from which the way is not to be used although it may exist"""
    commit: Text = ""
    """the kernel commit behind that"""
    btf: tuple[Text, ...] = ()
    """fields and constants of enums without which the way does not work"""
    arguments: tuple[Text, ...] = ()
    """named types that must be among a raw tracepoint's arguments"""

    @model_validator(mode="after")
    def _one_way(self) -> AttachPointShape:
        self.only_one(ATTACH_KINDS)
        return self

    def build(self, **more: Any) -> AttachPoint:
        """With the way of attaching as a value."""
        attach = self.only_one(ATTACH_KINDS)
        rest = {name: value for name, value in self if name not in ATTACH_KINDS}
        return AttachPoint(attach, getattr(self, attach), **rest, **more)


class ShownByShape(Shape):
    """A metric that shows that a hook fires."""

    _model = ShownBy

    metric: Text
    """a metric that depends on the hook"""
    where: Mapping[str, Text] = Field(default_factory=dict)
    """attributes of the rows that are above 0 once the hook has fired"""


class CanaryShape(Shape):
    """How to see that a hook fires."""

    _model = CanarySpec

    action: ActionName
    """what must make the hook fire (``process``, ``signal``, ``lookup``, ``add``, ``remove``, ``fault``, ``dirty``,
    ``writeback``, ``request``, ``queue``), or ``none``"""
    moves: Text = ""
    """what then grows, as ``map.field``, for kernels that do not count the runs of programs"""
    reason: Text = ""
    """with ``none``: why nothing may trigger the hook"""
    shown_by: ShownByShape | None = None
    """with ``none``: a ``metric``, and with ``where`` attributes of it, that is above 0 once the hook has fired"""

    @field_validator("shown_by")
    @classmethod
    def _unless_triggered(cls, value: ShownByShape | None, known: ValidationInfo) -> ShownByShape | None:
        if value is not None and known.data.get("action", NO_ACTION) != NO_ACTION:
            raise ValueError("the action shows whether the hook fires; remove one of them")
        return value

    @model_validator(mode="after")
    def _explained(self) -> CanaryShape:
        if self.action == NO_ACTION and not self.reason:
            raise ValueError('"reason" is missing; add why nothing may trigger the hook')
        return self


class HookShape(Shape):
    """A hook."""

    _model = ProbeHook

    name: Text
    """unique in the probe; metrics and users refer to it"""
    reason: Text = ""
    """why a missing hook makes no metric absent, for the log"""
    canary: CanaryShape | None = None
    """how to see that the hook fires"""
    alternatives: tuple[AttachPointShape, ...]
    """ways to hook in, best first: the first one that this kernel has is taken"""
