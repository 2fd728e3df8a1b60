# SPDX-License-Identifier: Apache-2.0
"""Turns pydantic errors into our messages: what is wrong; what to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pydantic_core import ErrorDetails

from ebpf_sidecar.pipeline.suggestions import did_you_mean

from .redaction import REDACTED, redacted_value

_MAX_QUOTED = 60  # characters of the user's own value in a message

_WANTED = {
    "string": ("text", "write it in quotes"),
    "path": ("a path", "write it in quotes"),
    "int": ("a whole number", 'write digits, as in "10"'),
    "float": ("a number", 'write digits, as in "0.5"'),
    "bool": ("true or false", "write one of them"),
    "list": ("a list", "write [first, second]"),
    "tuple": ("a list", "write [first, second]"),
    "set": ("a list", "write [first, second]"),
    "frozen_set": ("a list", "write [first, second]"),
    "dict": ("a mapping", "write {key: value}"),
    "mapping": ("a mapping", "write {key: value}"),
    "model": ("a mapping", "write {key: value}"),
}
_TYPE_ERRORS = {f"{word}_{ending}": word for word in _WANTED for ending in ("type", "parsing", "from_float")}
_LIMITS = {
    "greater_than": ("gt", "is not above", "write more than"),
    "greater_than_equal": ("ge", "is below", "write at least"),
    "less_than": ("lt", "is not below", "write less than"),
    "less_than_equal": ("le", "is above", "write at most"),
}
_LENGTHS = {
    "too_short": ("min_length", "has too few entries", "give at least"),
    "too_long": ("max_length", "has too many entries", "give at most"),
    "string_too_short": ("min_length", "is too short", "the minimum length is"),
    "string_too_long": ("max_length", "is too long", "the maximum length is"),
}


def is_type_error(error: ErrorDetails) -> bool:
    """Whether the value itself has the wrong type, so that nothing inside it was validated."""
    return error["type"] in _TYPE_ERRORS


def message_for(errors: Sequence[ErrorDetails], *, secret: bool) -> str:
    """One message for all ``errors`` at one location (several if a setting accepts several types).

    ``secret``: the value must not appear in the message.
    """
    error = errors[0]
    value = REDACTED if secret else quoted(error["input"])
    if all(is_type_error(each) for each in errors):
        return _wrong_type([each["type"] for each in errors], error["input"], value)
    message = _message(next(each for each in errors if not is_type_error(each)), value)
    return _without(message, str(error["input"]), secret=secret)


def _without(message: str, value: str, *, secret: bool) -> str:
    """A message that a settings class made itself, without secrets in the quoted value."""
    return message.replace(value, REDACTED if secret else redacted_value(value)) if value else message


def quoted(value: Any) -> str:
    """The user's value as quoted in messages."""
    if value is None:
        return "an empty value"
    if isinstance(value, (dict, list, tuple)):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = redacted_value(str(value).lower() if isinstance(value, bool) else str(value))
    return f'"{text[:_MAX_QUOTED]}…"' if len(text) > _MAX_QUOTED else f'"{text}"'


def _wrong_type(types: Sequence[str], given: Any, value: str) -> str:
    wanted = list(dict.fromkeys(_WANTED[_TYPE_ERRORS[each]] for each in types))
    nouns = " or ".join(noun for noun, _ in wanted)
    advice = " or ".join(advice for _, advice in wanted)
    if isinstance(given, str) and any(noun == "a list" for noun, _ in wanted):
        advice = f"write [{value[1:-1]}]"
    if isinstance(given, (dict, list)) and wanted[0][0] in ("text", "a path"):
        advice = "write a single value"
    return f"{value} is not {nouns}; {advice}"


def _message(error: ErrorDetails, value: str) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind in _LIMITS:
        key, wrong, advice = _LIMITS[kind]
        return f"{value} {wrong} {_number(context[key])}; {advice} {_number(context[key])}"
    if kind in _LENGTHS:
        key, wrong, advice = _LENGTHS[kind]
        return f"{value} {wrong}; {advice} {context[key]}"
    if kind in ("value_error", "assertion_error"):
        return str(context["error"])
    return _OTHERS.get(kind, _unknown)(error, value)


def _number(limit: Any) -> str:
    return f"{limit:g}" if isinstance(limit, float) else str(limit)


def _choice(error: ErrorDetails, value: str) -> str:
    choices = [word.strip("'") for word in error["ctx"]["expected"].replace(" or ", ", ").split(", ")]
    hint = did_you_mean(str(error["input"]), choices)
    return f"{value} is not a choice{hint or '; choose one of ' + ', '.join(choices)}"


def _pattern(error: ErrorDetails, value: str) -> str:
    return f'{value} does not match "{error["ctx"]["pattern"]}"; correct it'


def _unknown(error: ErrorDetails, value: str) -> str:
    message = error["msg"].rstrip(".").removeprefix("Input ")
    return f"{value} {message[:1].lower()}{message[1:]}; correct it"


_OTHERS: dict[str, Callable[[ErrorDetails, str], str]] = {
    "literal_error": _choice,
    "enum": _choice,
    "string_pattern_mismatch": _pattern,
}
