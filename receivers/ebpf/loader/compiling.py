# SPDX-License-Identifier: Apache-2.0
"""Compiles all probes as one object; a probe that does not compile must not prevent the others from loading."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from ebpf_sidecar.receivers.ebpf.kernel.refusals import Failure
from ebpf_sidecar.receivers.ebpf.loading.refusal import LoadRefused
from ebpf_sidecar.receivers.ebpf.loading.request import LoadRequest

T = TypeVar("T")
Attempt = Callable[[LoadRequest], object]
_TWO = 2


@dataclass(frozen=True, slots=True)
class Compiled(Generic[T]):
    """``result`` of compiling ``request``, from which the probes in ``broken`` (why, by name) are left out.

    ``own_broken``: why the reader's own programs are left out; empty if they are included.
    """

    request: LoadRequest
    result: T
    broken: Mapping[str, str]
    own_broken: str = ""


def compile_working_probes(
    request: LoadRequest, compile_all: Callable[[LoadRequest], T], trial: Attempt | None = None
) -> Compiled[T]:
    """Compile ``request``, or only the probes that compile. Raises `LoadRefused` if that fails as well.

    If nothing compiles, the reader's own programs may be the cause; the reader can do without them. ``trial``: tries a
    request where a compiler crash cannot harm this process. If given, nothing is compiled without a trial.
    """
    try:
        return _working_probes(request, compile_all, trial)
    except LoadRefused as refusal:
        if refusal.problem.failure is not Failure.COMPILE or not request.own.files:
            raise
        try:
            done = _working_probes(request.without_own(), compile_all, trial)
        except LoadRefused:
            raise refusal from None
        return replace(done, own_broken=f"it does not compile: {_first_error(refusal)}")


def _working_probes(
    request: LoadRequest, compile_all: Callable[[LoadRequest], T], trial: Attempt | None
) -> Compiled[T]:
    if trial is None:
        try:
            return Compiled(request, compile_all(request), {})
        except LoadRefused as refusal:
            if refusal.problem.failure is not Failure.COMPILE or len(request.probes) < _TWO:
                raise
    sound, broken = _separate_broken(request, trial or compile_all)
    rest = request.only(sound)
    return Compiled(rest, compile_all(rest), broken)


def _separate_broken(request: LoadRequest, attempt: Attempt) -> tuple[list[str], Mapping[str, str]]:
    """The probes that compile together, and why the others do not. Raises `LoadRefused` if there is none.

    They are tried one by one, ours first: a file may compile alone and still break those after it, as with a macro.
    """
    sound: list[str] = []
    refusals: dict[str, LoadRefused] = {}
    for name in sorted(request.probes, key=lambda name: not _is_ours(request, name)):
        try:
            attempt(request.only([*sound, name]))
            sound.append(name)
        except LoadRefused as refusal:
            if refusal.problem.failure is not Failure.COMPILE:
                raise
            refusals[name] = refusal
    if not sound:
        raise next(iter(refusals.values()))
    return sound, {name: f"probe {name} does not compile: {_first_error(r)}" for name, r in refusals.items()}


def _is_ours(request: LoadRequest, name: str) -> bool:
    return all(Path(file).parent == Path(request.headers) for file in request.parts[name].files)


def _first_error(refusal: LoadRefused) -> str:
    """The compiler's first error in one line."""
    lines = [line.strip() for line in refusal.problem.message.splitlines() if line.strip()]
    return next((line for line in lines if "error:" in line.lower()), lines[-1] if lines else "no reason given")
