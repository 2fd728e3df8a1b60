# SPDX-License-Identifier: Apache-2.0
"""Reads a probe's YAML into a `Probe`, and reports every mistake with its line, as for a configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from ebpf_sidecar.pipeline.config.sources import source_text
from ebpf_sidecar.pipeline.config.validation import in_order, validated
from ebpf_sidecar.pipeline.config.yaml_document import parse
from ebpf_sidecar.pipeline.errors import ConfigError

from .model import Probe
from .references import wrong_references
from .shapes import ProbeShape


def find_probes(folders: Iterable[Path]) -> Mapping[str, Path]:
    """The YAML file of every probe pair in ``folders`` by probe name; the first one found wins."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.yaml")):
            if path.with_suffix(".c").exists():
                found.setdefault(path.stem, path)
    return found


def read_probe(path: Path) -> Probe:
    """The probe that ``path`` describes. Raises `ConfigError` with all mistakes in the file."""
    return _described(path, source_text(path))


@lru_cache(maxsize=32)  # called several times at startup: to check settings, for the request, for the metrics
def _described(path: Path, text: str) -> Probe:
    document = parse(text, str(path), number_keys=True, fast=True)
    shape, mistakes = validated(ProbeShape, document.value, (), document.marks, noun="key")
    probe = shape.probe(path) if shape else None
    mistakes += wrong_references(probe, document.marks) if probe else ()
    if probe is None or mistakes:
        raise ConfigError(in_order(mistakes, document.marks))
    return probe
