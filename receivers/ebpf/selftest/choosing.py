# SPDX-License-Identifier: Apache-2.0
"""Selects the probes to test: those named, those of a configuration, or all installed ones."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ebpf_sidecar.pipeline.component import ComponentKind
from ebpf_sidecar.pipeline.config.load import load
from ebpf_sidecar.pipeline.config.locations import config_sources
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.suggestions import did_you_mean
from ebpf_sidecar.receivers.ebpf.settings import EbpfSettings

Chosen = Mapping[str, Mapping[str, Any]]


def chosen_probes(
    files: Sequence[str], overrides: Sequence[str], names: Sequence[str], found: Mapping[str, Path], plugins: Plugins
) -> Chosen:
    """Settings by probe. Raises `ConfigError` for a wrong file, and click's error for a probe that does not exist."""
    configured = _configured(files, overrides, plugins) if files or overrides else {name: {} for name in found}
    for name in names:
        if name not in configured:
            raise click.BadParameter(f'unknown probe "{name}"{did_you_mean(name, configured)}', param_hint="--probe")
    return {name: configured[name] for name in names or configured}


def _configured(files: Sequence[str], overrides: Sequence[str], plugins: Plugins) -> Chosen:
    config = load(config_sources(files), overrides, plugins, os.environ)
    bodies = [each.settings for each in config.components(ComponentKind.RECEIVER).values()]
    probes: dict[str, Mapping[str, Any]] = {}
    for body in bodies:
        if isinstance(body, EbpfSettings):
            probes.update(body.probes)
    if not probes:
        raise click.UsageError("the configuration has no receiver ebpf, so there is no probe to test; add one")
    return probes
