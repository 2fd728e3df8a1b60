# SPDX-License-Identifier: Apache-2.0
"""Compiles in a child first: LLVM's back end does not report what it cannot translate, but ends the process."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import NoReturn

from ebpf_sidecar.receivers.ebpf.kernel.refusals import Failure, LoadProblem, compile_error
from ebpf_sidecar.receivers.ebpf.loading.refusal import LoadRefused
from ebpf_sidecar.receivers.ebpf.loading.request import LoadRequest


def in_child(attempt: Callable[[LoadRequest], object], log: Callable[[], str]) -> Callable[[LoadRequest], None]:
    """Run ``attempt`` in a child of this process, which must be single-threaded; raises `LoadRefused` as it does.

    When the child dies without an answer, the reason is what was appended to ``log`` meanwhile.
    """

    def tried(request: LoadRequest) -> None:
        started = len(log())
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            _try_and_exit(attempt, request, theirs)
        os.close(theirs)
        with os.fdopen(ours, "rb") as answer:
            reported = answer.read()
        os.waitpid(child, 0)
        if not reported:
            raise LoadRefused(compile_error(log()[started:] or "it ended without giving a reason"))
        refusal = json.loads(reported)
        if refusal:
            raise LoadRefused(LoadProblem(Failure(refusal["failure"]), refusal["message"]))

    return tried


def _try_and_exit(attempt: Callable[[LoadRequest], object], request: LoadRequest, answer: int) -> NoReturn:
    refusal: dict[str, str] = {}
    try:
        attempt(request)
    except LoadRefused as refused:
        refusal = {"failure": refused.problem.failure, "message": refused.problem.message}
    except BaseException as problem:  # noqa: BLE001 # none of the parent's code may run in the child
        refusal = {"failure": Failure.COMPILE, "message": f"{type(problem).__name__}: {problem}"}
    os.write(answer, json.dumps(refusal).encode())
    os._exit(0)
