# SPDX-License-Identifier: Apache-2.0
"""Compiling in a child first: LLVM's back end does not report what it cannot translate, it ends the process."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import NoReturn

from ebpf_sidecar.receivers.ebpf.kernel.refusals import Diagnosis, Failure, compile_error
from ebpf_sidecar.receivers.ebpf.loading.refusal import Refused
from ebpf_sidecar.receivers.ebpf.loading.request import LoadRequest


def in_child(attempt: Callable[[LoadRequest], object], log: Callable[[], str]) -> Callable[[LoadRequest], None]:
    """``attempt`` in a child of this process, which must have one thread only. It raises `Refused` as ``attempt`` does,
    and where the child ends without a word, by what was added to ``log`` meanwhile."""

    def tried(request: LoadRequest) -> None:
        began = len(log())
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            _try_and_exit(attempt, request, theirs)
        os.close(theirs)
        with os.fdopen(ours, "rb") as answer:
            said = answer.read()
        os.waitpid(child, 0)
        if not said:
            raise Refused(compile_error(log()[began:] or "it ended without a reason"))
        refusal = json.loads(said)
        if refusal:
            raise Refused(Diagnosis(Failure(refusal["failure"]), refusal["message"]))

    return tried


def _try_and_exit(attempt: Callable[[LoadRequest], object], request: LoadRequest, answer: int) -> NoReturn:
    refusal: dict[str, str] = {}
    try:
        attempt(request)
    except Refused as refused:
        refusal = {"failure": refused.diagnosis.failure, "message": refused.diagnosis.message}
    except BaseException as problem:  # noqa: BLE001 # nothing of the parent's may run on in the child
        refusal = {"failure": Failure.COMPILE, "message": f"{type(problem).__name__}: {problem}"}
    os.write(answer, json.dumps(refusal).encode())
    os._exit(0)
