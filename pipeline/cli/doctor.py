# SPDX-License-Identifier: Apache-2.0
"""The command ``doctor``: runs the checks of a configuration's components on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import click

from ebpf_sidecar.pipeline.checks import Examination, Finding, FindingVerdict
from ebpf_sidecar.pipeline.component import ComponentKind
from ebpf_sidecar.pipeline.config.load import Config, load
from ebpf_sidecar.pipeline.config.locations import config_sources
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.terminal import wants_colours
from ebpf_sidecar.pipeline.text_table import aligned

from .options import print_json

JSON_VERSION = 1
"""Increased when a key of the JSON is removed or changes its meaning; keys may be added at any time."""

_COLOURS = {FindingVerdict.OK: "green", FindingVerdict.NOTE: "yellow", FindingVerdict.PROBLEM: "red"}
_WIDEST = max(map(len, FindingVerdict))  # so that the tables of all components line up
_NOTHING = "nothing to check: no component of this configuration has checks"


@dataclass(frozen=True, slots=True)
class Examined:
    """A component, as in ``receiver ebpf/mine``, and what its checks found."""

    component: str
    examination: Examination


def doctor(files: Sequence[str], overrides: Sequence[str], *, as_json: bool) -> int:
    """Print the findings; returns 1 if any is a problem, else 0. Raises `ConfigError` and `PluginError`."""
    plugins = Plugins()
    config = load(config_sources(files), overrides, plugins, os.environ)
    examined = list(examine(config, plugins))
    if as_json:
        print_json(as_data(examined))
    else:
        click.echo("\n".join(table(examined)), color=wants_colours(sys.stdout))
    return 1 if _problems(examined) else 0


def examine(config: Config, plugins: Plugins) -> Iterator[Examined]:
    """Every component with checks, receivers first, and its findings."""
    for kind in ComponentKind:
        for id_, component in config.components(kind).items():
            for check in plugins.checks(kind, id_.type):
                yield Examined(f"{kind} {id_}", check.examine(component.settings))


def as_data(examined: Sequence[Examined]) -> dict[str, Any]:
    """The machine-readable result, as plain values."""
    return {
        "version": JSON_VERSION,
        "verdict": str(FindingVerdict.PROBLEM if _problems(examined) else FindingVerdict.OK),
        "findings": [
            {"component": each.component, **asdict(finding)}
            for each in examined
            for finding in each.examination.findings
        ],
        "advice": [
            {"component": each.component, **asdict(advice)} for each in examined for advice in each.examination.advice
        ],
    }


def table(examined: Sequence[Examined]) -> Iterator[str]:
    """The lines for people: an aligned table, the number of problems, then advice to copy."""
    for each in examined:
        yield click.style(f"{each.component}:", bold=True)
        yield from aligned(_rows(each.examination.findings), indent="  ")
        yield ""
    yield _summary(_problems(examined)) if examined else _NOTHING
    for each in examined:
        for advice in each.examination.advice:
            yield from ("", click.style(f"# {each.component}: {advice.title}", bold=True), advice.text.rstrip("\n"))


def _rows(findings: Sequence[Finding]) -> Iterator[tuple[str, str, str]]:
    for finding in findings:
        verdict = click.style(f"{finding.verdict:<{_WIDEST}}", fg=_COLOURS[finding.verdict])
        yield verdict, f"{finding.area} {finding.subject}".strip(), finding.found
        if finding.fix:
            yield "", "", f"fix: {finding.fix}"


def _problems(examined: Sequence[Examined]) -> int:
    findings = (finding for each in examined for finding in each.examination.findings)
    return sum(finding.verdict is FindingVerdict.PROBLEM for finding in findings)


def _summary(problems: int) -> str:
    if not problems:
        return click.style("no problem found", fg="green")
    return click.style(f"{problems} problem{'s' if problems > 1 else ''} found", fg="red")
