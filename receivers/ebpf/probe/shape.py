# SPDX-License-Identifier: Apache-2.0
"""What all parts of a probe's YAML have in common: each is a mapping, and becomes a part of the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, TypeVar

from pydantic import ConfigDict

from ebpf_sidecar.pipeline.settings import Settings
from ebpf_sidecar.pipeline.suggestions import any_of

Key = TypeVar("Key", bound=str)


def exactly_one(keys: Iterable[str]) -> dict[str, Any]:
    """For the JSON Schema: what `Shape.only_one` checks."""
    return {"oneOf": [{"required": [key]} for key in keys]}


class Shape(Settings):
    """A mapping in the file that describes a part of the model."""

    model_config = ConfigDict(defer_build=True)

    _model: ClassVar[Callable[..., Any]]

    def build(self, **more: Any) -> Any:
        """The part of the model. ``more``: fields that are not written in the mapping, or are written otherwise."""
        return self._model(**{name: _built(value) for name, value in self} | more)

    def only_one(self, keys: Sequence[Key]) -> Key:
        """The one of ``keys`` that is written. Raises ValueError."""
        written = [key for key in keys if key in self.model_fields_set and getattr(self, key) is not None]
        if not written:
            raise ValueError(f"{any_of(keys)} is missing; add one of them")
        if len(written) > 1:
            raise ValueError(f'"{written[0]}" and "{written[1]}" exclude each other; keep one')
        return written[0]


def _built(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_built, value))
    return value.build() if isinstance(value, Shape) else value
