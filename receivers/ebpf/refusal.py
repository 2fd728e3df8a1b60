# SPDX-License-Identifier: Apache-2.0
"""How the loader says that it cannot go on."""

from __future__ import annotations

from .rights import Diagnosis


class Refused(Exception):  # noqa: N818 # an answer, not a mistake
    """Loading cannot go on; carries the diagnosis for the parent."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        super().__init__(diagnosis.message)
        self.diagnosis = diagnosis
