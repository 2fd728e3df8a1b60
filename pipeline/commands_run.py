# SPDX-License-Identifier: Apache-2.0
"""The commands that start something: ``run`` and ``record``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from .config import load
from .configfiles import sources
from .plugins import Plugins
from .settings import parse_duration


def run(files: Sequence[Path], overrides: Sequence[str]) -> int:
    """Run the service until it is told to stop; its exit code. Raises `SidecarError`."""
    from .service import run_service

    plugins = Plugins()
    return run_service(load(sources(files), overrides, plugins, os.environ), plugins=plugins)


def record(files: Sequence[Path], overrides: Sequence[str], output: Path, duration: str) -> None:
    """Record the receivers for ``duration``. Raises `SidecarError`, and click's error for a wrong duration."""
    from .recording import record

    try:
        seconds = parse_duration(duration)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--duration") from error
    if seconds <= 0:
        raise click.BadParameter(f'"{duration}" is not above zero; give at least a second', param_hint="--duration")
    plugins = Plugins()
    config = load(sources(files), overrides, plugins, os.environ)
    record(config, output, seconds, plugins=plugins, progress=lambda text: click.echo(text, err=True))
