# SPDX-License-Identifier: Apache-2.0
"""How the loader reports that it cannot continue, and why a hook cannot be attached."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ebpf_sidecar.receivers.ebpf.kernel.refusals import LoadProblem


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something is not attached. ``brief``: a few words for a label and the log; ``full``: with what to do."""

    brief: str
    full: str

    def __bool__(self) -> bool:
        return bool(self.full)


NO_REASON = Reason("", "")


def joined(reasons: Iterable[Reason]) -> Reason:
    """All of them, each once."""
    objections = [reason for reason in reasons if reason]
    brief, full = (dict.fromkeys(texts) for texts in ((r.brief for r in objections), (r.full for r in objections)))
    return Reason(", ".join(brief), "; ".join(full))


class LoadRefused(Exception):  # noqa: N818 # an answer, not a mistake
    """Loading cannot continue; carries the problem to report to the parent."""

    def __init__(self, problem: LoadProblem) -> None:
        super().__init__(problem.message)
        self.problem = problem
