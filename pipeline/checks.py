# SPDX-License-Identifier: Apache-2.0
"""What ``ebpf-sidecar doctor`` asks of components: a look at the machine, before anything is started.

A plugin brings checks with the hook ``register_checks``; each is for one type of component and is called once for each
component of that type in the configuration. A check only looks: it changes nothing on the machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .ids import ComponentKind


class Verdict(StrEnum):
    """``note``: works, but the user may want to know or to change it."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: ``area`` and ``subject`` name what was looked at (they do not change between releases), ``found`` says
    what is there, ``fix`` the exact command or YAML that mends it (empty where nothing is to be done)."""

    area: str
    subject: str
    verdict: Verdict
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
    """A check for the components of a type. ``examine`` takes the component's checked settings and never raises for
    what the machine is like: that is what it reports."""

    kind: ComponentKind
    type: str
    examine: Callable[[Any], Examination]
