# SPDX-License-Identifier: Apache-2.0
"""All probes are compiled as one object; one that does not compile must not take the others with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from ebpf_sidecar.receivers.ebpf.kernel.refusals import Failure
from ebpf_sidecar.receivers.ebpf.loading.refusal import Refused
from ebpf_sidecar.receivers.ebpf.loading.request import LoadRequest

T = TypeVar("T")
Attempt = Callable[[LoadRequest], object]
_TWO = 2


@dataclass(frozen=True, slots=True)
class Compiled(Generic[T]):
    """``result`` of compiling ``request``, from which the probes in ``broken`` (why, by name) are left out.

    ``own_broken``: why what is the reader's own is left out; empty where it is there.
    """

    request: LoadRequest
    result: T
    broken: Mapping[str, str]
    own_broken: str = ""


def compile_what_can_be(
    request: LoadRequest, compile_all: Callable[[LoadRequest], T], trial: Attempt | None = None
) -> Compiled[T]:
    """Compile ``request``, or of its probes those that compile. Raises `Refused` when that does not help.

    Where nothing compiles, it may be for what is the reader's own, which can do without. ``trial``: tries a request
    where the compiler cannot harm this process. Where it is given, nothing is compiled that was not tried before.
    """
    try:
        return _probes_that_can_be(request, compile_all, trial)
    except Refused as refusal:
        if refusal.diagnosis.failure is not Failure.COMPILE or not request.own.files:
            raise
        try:
            done = _probes_that_can_be(request.without_own(), compile_all, trial)
        except Refused:
            raise refusal from None
        return replace(done, own_broken=f"it does not compile: {_first_error(refusal)}")


def _probes_that_can_be(
    request: LoadRequest, compile_all: Callable[[LoadRequest], T], trial: Attempt | None
) -> Compiled[T]:
    if trial is None:
        try:
            return Compiled(request, compile_all(request), {})
        except Refused as refusal:
            if refusal.diagnosis.failure is not Failure.COMPILE or len(request.probes) < _TWO:
                raise
    sound, broken = _sorted_out(request, trial or compile_all)
    rest = request.only(sound)
    return Compiled(rest, compile_all(rest), broken)


def _sorted_out(request: LoadRequest, attempt: Attempt) -> tuple[list[str], Mapping[str, str]]:
    """The probes that compile together, and why the others do not. Raises `Refused` when there is none.

    One after the other, ours first: a file may compile alone and still break those after it, as a macro does.
    """
    sound: list[str] = []
    refusals: dict[str, Refused] = {}
    for name in sorted(request.probes, key=lambda name: not _is_ours(request, name)):
        try:
            attempt(request.only([*sound, name]))
            sound.append(name)
        except Refused as refusal:
            if refusal.diagnosis.failure is not Failure.COMPILE:
                raise
            refusals[name] = refusal
    if not sound:
        raise next(iter(refusals.values()))
    return sound, {name: f"probe {name} does not compile: {_first_error(r)}" for name, r in refusals.items()}


def _is_ours(request: LoadRequest, name: str) -> bool:
    return all(Path(file).parent == Path(request.headers) for file in request.parts[name].files)


def _first_error(refusal: Refused) -> str:
    """The compiler's first complaint in one line."""
    lines = [line.strip() for line in refusal.diagnosis.message.splitlines() if line.strip()]
    return next((line for line in lines if "error:" in line.lower()), lines[-1] if lines else "no reason given")
