# SPDX-License-Identifier: Apache-2.0
"""Checks that ``ebpf-sidecar doctor`` runs: they examine the machine before anything is started.

A plugin registers checks with the hook ``register_checks``; each is for one type of component and runs once for each
component of that type in the configuration. A check is read-only: it changes nothing on the machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .ids import ComponentKind


class FindingVerdict(StrEnum):
    """``note``: works, but the user may want to know or to change it."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: ``area`` and ``subject`` name what was checked (stable between releases), ``found`` is what was found,
    ``fix`` is the exact command or YAML that fixes it (empty if nothing needs to be done)."""

    area: str
    subject: str
    verdict: FindingVerdict
    found: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Advice:
    """A text to copy: ``name`` for machines, ``title`` for people, ``text`` is YAML or commands."""

    name: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Examination:
    """What a check found, in the order to show it."""

    findings: tuple[Finding, ...]
    advice: tuple[Advice, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """A check for components of one type. ``examine`` takes the component's validated settings. It never raises because
    of the machine's state: it reports that state."""

    kind: ComponentKind
    type: str
    examine: Callable[[Any], Examination]
