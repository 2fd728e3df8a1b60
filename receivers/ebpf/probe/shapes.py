# SPDX-License-Identifier: Apache-2.0
"""How a probe's YAML is written, key by key; `model.py` is what the program works with.

The descriptions become the reference in ``bpf/WRITING_PROBES.md`` and the JSON Schema for editors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from ebpf_sidecar.pipeline.config.json_schema import DIALECT
from ebpf_sidecar.pipeline.config.pydantic_messages import quoted

from .hook_shapes import AttachPointShape, CanaryShape, HookShape, ShownByShape
from .metric_shapes import AttributeShape, MetricShape, SlotsShape, SpreadShape, ValueShape
from .model import CallField, Calls, MapSpec, Probe, Setting, SettingType
from .shape import Shape
from .words import Flag, MacroName, Natural, Stability, Text


class SettingShape(Shape):
    """A setting, below its name."""

    _model = Setting

    type: SettingType
    """``integer`` (becomes a macro of the same name in capitals), ``syscalls`` (names of system calls) or ``words``"""
    default: Natural | tuple[Text, ...]
    """its value unless the user sets another"""
    description: Text
    """what it is for"""
    words: tuple[Text, ...] = ()
    """of the type ``words``: the words to choose from"""

    @field_validator("default")
    @classmethod
    def _typed(cls, value: int | tuple[str, ...], known: ValidationInfo) -> int | tuple[str, ...]:
        number = known.data.get("type", "integer") == "integer"
        if "type" in known.data and number != isinstance(value, int):
            advice = "a whole number; write digits" if number else "a list of words; write [first, second]"
            raise ValueError(f"{quoted(value)} is not {advice}")
        return value


class CallsShape(Shape):
    """What the shared programs do for some system calls."""

    _model = Calls

    names: Text | tuple[Text, ...]
    """names of system calls, or ``$setting``"""
    set: Mapping[CallField, Natural]
    """the bytes of ``struct call`` (``thread.h``) for them: ``follow``, ``cause``, ``timed``, ``direction``,
    ``advice``, ``restarts``, ``resumes``, ``descriptor``"""


class MapShape(Shape):
    """A kernel map."""

    _model = MapSpec

    name: Text
    """its name in C"""
    published: Text = ""
    """its name for users, if another"""
    entries: Natural
    """how many it holds when all maps together may take 16 MiB; other budgets scale it"""
    reason: Text
    """what an entry stands for, so that a reader can judge the number"""
    key: Natural = 0
    """bytes of a key"""
    value: Natural = 0
    """bytes of a value"""
    near: Natural = 0
    """places in the array in front of it (``near.h``), a power of two"""
    array: Flag = False
    """``true`` for an array that only the kernel reads; its entries are a power of two"""

    def build(self, **more: Any) -> Any:
        """Published under its own name unless it has another."""
        return super().build(published=self.published or self.name, **more)


class ProbeShape(Shape):
    """The file."""

    _model = Probe

    summary: Text
    """one sentence: what the probe counts"""
    reading: Text
    """how to read the numbers, and what they do not say"""
    cost: Text
    """what an event costs, with how that was measured"""
    stability: Stability
    """``development``, ``alpha``, ``beta``, ``stable`` or ``deprecated``"""
    kernel: Text
    """the oldest kernel that it works on, as ``"5.10"``"""
    settings: Mapping[str, SettingShape]
    """what users may set, by name; ``{}`` for nothing"""
    hooks: tuple[HookShape, ...]
    """where the kernel is hooked"""
    maps: tuple[MapShape, ...]
    """the kernel maps that are read"""
    metrics: tuple[MetricShape, ...]
    """what is published"""
    macros: Mapping[MacroName, Natural] = Field(default_factory=dict, json_schema_extra={"additionalProperties": False})
    """numbers that both sides share: constants for the C code by name"""
    calls: tuple[CallsShape, ...] = ()
    """which system calls the shared programs in ``call.c`` follow for this probe"""
    programs: tuple[Text, ...] = ()
    """shared C files that call this probe's handlers, such as ``call.c``"""
    btf: tuple[Text, ...] = ()
    """fields (``struct.field``) that the C code uses where they exist; nothing is absent without them"""
    drops: tuple[Text, ...] = ()
    """further reasons for which events can be lost, besides full maps"""

    def probe(self, path: Path) -> Probe:
        """The probe whose file ``path`` is."""
        settings = tuple(setting.build(name=name) for name, setting in self.settings.items())
        found: Probe = self.build(name=path.stem, path=path, settings=settings)
        return found


SHAPES: Mapping[str, type[Shape]] = {
    "probe": ProbeShape,
    "setting": SettingShape,
    "hook": HookShape,
    "alternative": AttachPointShape,
    "canary": CanaryShape,
    "shown_by": ShownByShape,
    "map": MapShape,
    "calls": CallsShape,
    "metric": MetricShape,
    "value": ValueShape,
    "spread": SpreadShape,
    "histogram": SlotsShape,
    "attribute": AttributeShape,
}
"""Every mapping in the file, for its documentation."""


def schema() -> dict[str, Any]:
    """The JSON Schema of the file as plain data."""
    return {"$schema": DIALECT, **ProbeShape.model_json_schema(), "title": "ebpf-sidecar probe"}
