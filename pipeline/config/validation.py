# SPDX-License-Identifier: Apache-2.0
"""Validates a part of the file against its settings class and turns every error into a mistake.

Two rules of the Collector apply beyond pydantic's: an empty setting (null) keeps its default, and a text setting gets
the *original* text of a reference (``0123`` from the environment stays ``0123``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ebpf_sidecar.pipeline.errors import ConfigError, Mistake
from ebpf_sidecar.pipeline.settings import PlacedError
from ebpf_sidecar.pipeline.suggestions import did_you_mean

from .expansion import Expanded, unwrapped_tree
from .field_types import is_secret_field, known_settings
from .pydantic_messages import is_type_error, message_for, quoted
from .redaction import is_secret_name, redacted_value
from .yaml_document import Location, Mark

Model = TypeVar("Model", bound=BaseModel)
Marks = Mapping[Location, Mark]
_MAX_MESSAGE = 200  # characters of another program's message


def mistake(at: Location, message: str, marks: Marks, place: Location | None = None) -> Mistake:
    """A mistake at a location; ``place``: the location to point to, if it is another one (an unknown key)."""
    place = at if place is None else place
    known = next((marks[place[:end]] for end in range(len(place), -1, -1) if place[:end] in marks), "")
    return Mistake("::".join(map(str, at)), message, str(known))


def validated(
    model: type[Model], body: Any, at: Location, marks: Marks, *, noun: str = "setting"
) -> tuple[Model | None, list[Mistake]]:
    """``body`` (null: all defaults) as settings, or all mistakes in it, whatever ``model`` raises.

    ``noun``: what messages call a key.
    """
    try:
        return _validated(model, body, at, marks, noun)
    except ConfigError as error:  # another file that the settings name is wrong
        return None, list(error.mistakes)
    except Exception as error:  # noqa: BLE001 # a settings class is a plugin's code: its failure is one more mistake
        return None, [mistake(at, plugin_failure(error), marks)]


def in_order(mistakes: Iterable[Mistake], marks: Marks) -> list[Mistake]:
    """In the order of the file, each once."""
    places = {str(mark): number for number, mark in enumerate(marks.values())}
    return sorted(dict.fromkeys(mistakes), key=lambda each: places.get(each.where, len(places)))


def plugin_failure(error: Exception) -> str:
    """The message if a component's own validation fails with an unexpected exception."""
    cause = redacted_value(f"{type(error).__name__}: {error}".split("\n", 1)[0][:_MAX_MESSAGE])
    return f"cannot be checked: {cause}; report this to the author of the component"


def _validated(
    model: type[Model], body: Any, at: Location, marks: Marks, noun: str
) -> tuple[Model | None, list[Mistake]]:
    tree = {} if body is None else body
    if not isinstance(unwrapped_tree(tree), dict):
        return None, [mistake(at, f"{quoted(unwrapped_tree(tree))} is not a mapping; write {{key: value}}", marks)]
    settings, errors = _tried(model, tree)
    if settings is None and (repaired := _repaired(tree, errors)) != tree:
        tree = repaired  # values that are still refused are quoted as the user wrote them
        settings, errors = _tried(model, tree)
    return settings, list(_mistakes(model, tree, errors, at, marks, noun=noun))


def _tried(model: type[Model], tree: Any) -> tuple[Model | None, list[ErrorDetails]]:
    try:
        return model.model_validate(unwrapped_tree(tree)), []
    except ValidationError as error:
        return None, error.errors(include_url=False)


def _repaired(tree: Any, errors: Iterable[ErrorDetails]) -> Any:
    """``tree`` with the original text of refused values that came from references, and without nulls."""
    for error in errors:
        tree = _repaired_at(tree, _walked(tree, error["loc"]))
    return tree


def _repaired_at(tree: Any, location: Location) -> Any:
    if isinstance(tree, Expanded):
        return tree.original if not location else _repaired_at(tree.value, location)
    if not location:
        return tree
    key, rest = location[0], location[1:]
    if isinstance(tree, dict) and key in tree:
        if (
            not rest
            and unwrapped_tree(tree[key]) is None
            and not (isinstance(tree[key], Expanded) and tree[key].original)
        ):
            return {name: value for name, value in tree.items() if name != key}
        return {**tree, key: _repaired_at(tree[key], rest)}
    if isinstance(tree, list) and isinstance(key, int):
        return [_repaired_at(item, rest) if position == key else item for position, item in enumerate(tree)]
    return tree


def _walked(tree: Any, loc: Sequence[str | int]) -> Location:
    """The part of pydantic's ``loc`` that exists in the file, without union member names and ``[key]``."""
    walked: list[str | int] = []
    for part in loc:
        tree = tree.value if isinstance(tree, Expanded) else tree
        if part in (tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()):
            tree = tree[part]
            walked.append(part)
    return tuple(walked)


def _mistakes(
    model: type[BaseModel], tree: Any, errors: Sequence[ErrorDetails], at: Location, marks: Marks, *, noun: str
) -> Iterable[Mistake]:
    placed = [(_walked(tree, error["loc"]), error) for error in errors]
    deepest = [(location, error) for location, error in placed if not _is_other_branch(location, error, placed)]
    for (location, _), group in groupby(deepest, key=_place):
        found = [error for _, error in group]
        where = (*at, *location)
        if found[0]["type"] == "extra_forbidden":
            hint = did_you_mean(str(location[-1]), known_settings(model, location[:-1])) or "; remove it"
            yield mistake(where[:-1], f'unknown {noun} "{location[-1]}"{hint}', marks, where)
        elif found[0]["type"] == "missing":
            name = found[0]["loc"][-1]
            yield mistake(where, f'{noun} "{name}" is missing; add it', marks, (*where, name))
        else:
            secret = any(is_secret_name(str(part)) for part in location) or is_secret_field(model, location)
            cause = found[0].get("ctx", {}).get("error")
            if isinstance(cause, PlacedError) and not secret:
                yield from (mistake((*where, *below), message, marks) for below, message in cause.mistakes)
            else:
                yield mistake(where, message_for(found, secret=secret), marks)


def _is_other_branch(location: Location, error: ErrorDetails, placed: Sequence[tuple[Location, ErrorDetails]]) -> bool:
    """Whether another union member accepted the value's type and found an error inside it."""
    return is_type_error(error) and any(
        len(other) > len(location) and other[: len(location)] == location for other, _ in placed
    )


def _place(placed: tuple[Location, ErrorDetails]) -> tuple[Location, str]:
    """The grouping key of messages: all union errors at one location together, but each missing setting alone."""
    location, error = placed
    return location, str(error["loc"][-1]) if error["type"] == "missing" else ""
