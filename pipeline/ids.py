# SPDX-License-Identifier: Apache-2.0
"""Component ids and kinds. Imports nothing else of the product and no NumPy, so that anything may import it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ComponentKind(StrEnum):
    """The sections of a configuration in which components are written."""

    RECEIVER = "receiver"
    PROCESSOR = "processor"
    EXPORTER = "exporter"
    EXTENSION = "extension"

    @property
    def section(self) -> str:
        """The section's name in the file."""
        return f"{self.value}s"


@dataclass(frozen=True, slots=True, order=True)
class ComponentId:
    """A component as the file names it: ``type`` or ``type/name``."""

    kind: ComponentKind
    type: str
    name: str = ""

    @classmethod
    def parse(cls, kind: ComponentKind, text: str) -> ComponentId:
        """The id written as ``type`` or ``type/name``. Raises ValueError with advice."""
        type_, slash, name = text.partition("/")
        if not type_.strip() or (slash and not name.strip()):
            raise ValueError(f'"{text}" is not a component id; write "type" or "type/name"')
        return cls(kind, type_.strip(), name.strip())

    def __str__(self) -> str:
        return f"{self.type}/{self.name}" if self.name else self.type
