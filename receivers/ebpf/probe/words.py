# SPDX-License-Identifier: Apache-2.0
"""The types of single values in a probe's YAML. Unlike users' settings, nothing is converted: ``"10"`` is no number."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    Tag,
)
from pydantic_core import CoreSchema, core_schema

from .model import DECODERS, ELSE, NO_ACTION, PERF_EVENTS, Action

_LARGEST = 1e30


class OneOf:
    """Annotation of text that is one of these words; a `Literal` whose words are known elsewhere."""

    def __init__(self, words: Iterable[str]) -> None:
        self.words = [str(word) for word in words]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.literal_schema(self.words)


class Form:
    """Annotation of text that matches ``pattern`` as a whole. ``wanted``: what it is; how to write it."""

    def __init__(self, pattern: str, wanted: str) -> None:
        self.pattern, self.wanted = re.compile(pattern, re.ASCII), wanted

    def read(self, text: str) -> str:
        """The text. Raises ValueError with advice."""
        if not self.pattern.fullmatch(text):
            raise ValueError(f'"{text}" is not {self.wanted}')
        return text

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.read, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "pattern": f"^({self.pattern.pattern})$"}


def _key(value: int | str) -> int | str:
    if isinstance(value, str) and value != ELSE:
        raise ValueError(f'"{value}" is not a whole number; write one, or "{ELSE}" for all others')
    return value


Text = Annotated[str, StringConstraints(strip_whitespace=True)]
Natural = Annotated[int, Field(strict=True, ge=0)]
Flag = Annotated[bool, Field(strict=True)]
Factor = Annotated[float, Field(strict=True, gt=-_LARGEST, lt=_LARGEST)]
Event = Annotated[Text, Form(r"\w+:\w+", "an event; write category:event")]
Function = Annotated[Text, Form(r"\w+", "the name of a function; write the name alone")]
PerfEvent = Annotated[str, OneOf(PERF_EVENTS)]
MacroName = Annotated[str, Form(r"[A-Za-z_]\w*", "the name of a macro; use letters, digits and underscores")]
Release = Annotated[Text, Form(r"\d+\.\d+", 'a kernel release; write it as in "7.0"')]
ActionName = Annotated[str, OneOf((*Action, NO_ACTION))]
Stability = Annotated[str, OneOf(("development", "alpha", "beta", "stable", "deprecated"))]
_Table = Annotated[
    dict[Annotated[int | str, AfterValidator(_key)], Text],
    Field(json_schema_extra={"propertyNames": {"pattern": rf"^(-?\d+|{ELSE})$"}}),
]
Decode = Annotated[
    Annotated[str, OneOf(DECODERS), Tag("decoder")] | Annotated[_Table, Tag("table")],
    Discriminator(lambda value: "table" if isinstance(value, dict) else "decoder"),
]
"""A decoder's name, or a table from numbers to words."""
