# SPDX-License-Identifier: Apache-2.0
"""How the loader says that it cannot go on, and why a hook cannot be attached."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ebpf_sidecar.receivers.ebpf.kernel.refusals import Diagnosis


@dataclass(frozen=True, slots=True)
class Why:
    """Why something is not attached. ``brief``: a few words for a label and the log; ``full``: with what to do."""

    brief: str
    full: str

    def __bool__(self) -> bool:
        return bool(self.full)


NO_OBJECTION = Why("", "")


def joined(reasons: Iterable[Why]) -> Why:
    """All of them, each once."""
    objections = [reason for reason in reasons if reason]
    brief, full = (dict.fromkeys(texts) for texts in ((r.brief for r in objections), (r.full for r in objections)))
    return Why(", ".join(brief), "; ".join(full))


class Refused(Exception):  # noqa: N818 # an answer, not a mistake
    """Loading cannot go on; carries the diagnosis for the parent."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        super().__init__(diagnosis.message)
        self.diagnosis = diagnosis
