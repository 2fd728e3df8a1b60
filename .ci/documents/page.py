# SPDX-License-Identifier: Apache-2.0
"""How long the Prometheus page is: counted on pages of an imaginary machine, always the same."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

from ebpf_sidecar.exporters.prometheus import PrometheusExporter, PrometheusSettings
from ebpf_sidecar.pipeline.component import ComponentKind
from ebpf_sidecar.pipeline.host import Request
from ebpf_sidecar.pipeline.testing import fake_context

from .text import block, code, table
from .tree import ROOT

_UNLIMITED = {"page_limit": {"series": 10**6, "size": "1GiB"}}
_ALL = ("page_cache", "block_io", "syscalls")
_UNFOLDED = "fold_beyond: null"
_CONFIGURATIONS: tuple[tuple[str, tuple[str, ...], Mapping[str, Any]], ...] = (
    ("default", _ALL, {}),
    ("default, `probes: [page_cache, block_io]`", _ALL[:2], {}),
    ("default, `probes: [page_cache]`", _ALL[:1], {}),
    (code(_UNFOLDED), _ALL, {"fold_beyond": None}),
    (f"{code(_UNFOLDED)}, {code('histogram_bounds: full')}", _ALL, {"fold_beyond": None, "histogram_bounds": "full"}),
)
_PROCESSES = (10, 100, 600)
_READINGS = 2  # percentages come with the second one


@block
def page_sizes() -> str:
    """A row for each configuration: series and size for machines with few and with many processes."""
    rows = [
        (name, *(_cell(*page_size(probes, settings, count)) for count in _PROCESSES))
        for name, probes, settings in _with_keys()
    ]
    return table(("configuration", *(f"{count} pairs" for count in _PROCESSES)), rows)


def _with_keys() -> list[tuple[str, tuple[str, ...], tuple[tuple[str, Any], ...]]]:
    return [(name, probes, tuple(settings.items())) for name, probes, settings in _CONFIGURATIONS]


@cache
def page_size(probes: tuple[str, ...], settings: tuple[tuple[str, Any], ...], processes: int) -> tuple[int, int]:
    """Series and bytes of the page of that many processes, all of which have worked; without a limit."""
    parsed = PrometheusSettings.model_validate({**_UNLIMITED, **dict(settings)})
    exporter = PrometheusExporter(parsed, fake_context(ComponentKind.EXPORTER, "prometheus"))
    machine = _machine(processes, probes)
    for reading in range(_READINGS):
        exporter.export(machine.tick(reading))
    page = exporter.scrape(Request("GET", "/metrics", {})).body
    return sum(not line.startswith(b"#") for line in page.split(b"\n")[:-1]), len(page)


def _machine(processes: int, probes: tuple[str, ...]) -> Any:
    """The same as in bench/page.py."""
    sys.path.insert(0, str(ROOT / "bench"))
    try:
        return import_module("measuring.build_machine").BuildMachine(processes, probes)
    finally:
        sys.path.remove(str(ROOT / "bench"))


def _cell(series: int, size: int) -> str:
    return f"{series:,} in {size / 1e6:.1f} MB"
