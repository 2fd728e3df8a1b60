# SPDX-License-Identifier: Apache-2.0
"""All probes are compiled as one object; one that does not compile must not take the others with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from .refusal import Refused
from .request import LoadRequest
from .rights import Failure

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Compiled(Generic[T]):
    """``result`` of compiling ``request``, from which the probes in ``broken`` (why, by name) are left out."""

    request: LoadRequest
    result: T
    broken: Mapping[str, str]


def compile_what_can_be(request: LoadRequest, compile_all: Callable[[LoadRequest], T]) -> Compiled[T]:
    """Compile ``request``, or of its probes those that compile. Raises `Refused` when that does not help."""
    try:
        return Compiled(request, compile_all(request), {})
    except Refused as refusal:
        broken = _broken(request, compile_all) if refusal.diagnosis.failure is Failure.COMPILE else {}
        sound = [name for name in request.probes if name not in broken]
        if not broken or not sound:
            raise
    rest = request.only(sound)
    return Compiled(rest, compile_all(rest), broken)


def _broken(request: LoadRequest, compile_all: Callable[[LoadRequest], T]) -> Mapping[str, str]:
    """Why, by name, for the probes that do not compile alone either."""
    found = {}
    for name in request.probes if len(request.probes) > 1 else ():
        try:
            compile_all(request.only([name]))
        except Refused as refusal:
            found[name] = f"probe {name} does not compile: {_first_error(refusal.diagnosis.message)}"
    return found


def _first_error(message: str) -> str:
    """The compiler's first complaint in one line."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return next((line for line in lines if "error:" in line), lines[-1] if lines else "no reason given")
