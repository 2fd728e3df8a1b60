# SPDX-License-Identifier: Apache-2.0
"""The commands that start something: ``run`` and ``record``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from ebpf_sidecar.pipeline.config.load import load
from ebpf_sidecar.pipeline.config.locations import REPLAY, config_sources
from ebpf_sidecar.pipeline.config.rereading import ConfigReader
from ebpf_sidecar.pipeline.errors import ProbeError, redacting
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.running.stop_request import StopRequest, interruptible
from ebpf_sidecar.pipeline.settings import parse_duration

from .options import print_stderr


def run(files: Sequence[str], overrides: Sequence[str], request: StopRequest, *, or_replay: bool = False) -> int:
    """Run the service until it is asked to stop; returns its exit code. Raises `SidecarError`.

    ``or_replay``: if eBPF cannot be used, explain why in three lines and run the packaged replay instead, with the
    same ``overrides``.
    """
    plugins = Plugins()
    reader = ConfigReader(config_sources(files), overrides, plugins)
    config = reader.read()
    from ebpf_sidecar.pipeline.running.run import run_service

    try:
        with redacting(config.secrets):
            return run_service(config, request, reader=reader)
    except ProbeError as problem:
        if not or_replay:
            raise
        _explain_replay(problem)
    reader = ConfigReader([REPLAY], overrides, plugins)
    replayed = reader.read()
    # settings of the receiver that cannot run are unused now, which is not the user's mistake
    with redacting(replayed.secrets):
        return run_service(replace(replayed, warnings=()), request, reader=reader)


def _explain_replay(problem: ProbeError) -> None:
    missing, _, remedy = str(problem).partition("; ")
    print_stderr("no eBPF here: ", missing, colour="red")
    print_stderr("to get it: ", remedy or "see README.md", colour="green")
    print_stderr(
        "until then: ",
        "a recording from another machine is replayed; its numbers are not those of this machine",
        colour="yellow",
    )


def record(files: Sequence[str], overrides: Sequence[str], output: Path | None, duration: str) -> None:
    """Record the receivers for ``duration``; to standard output if there is no ``output``.

    Raises `SidecarError`, and click's error for a wrong duration.
    """
    from ebpf_sidecar.pipeline.recording.record import record

    try:
        seconds = parse_duration(duration)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--duration") from error
    if seconds <= 0:
        raise click.BadParameter(f'"{duration}" is not above zero; give at least 1s', param_hint="--duration")
    plugins = Plugins()
    config = load(config_sources(files), overrides, plugins, os.environ)
    with interruptible(), redacting(config.secrets):
        record(config, output, seconds, plugins=plugins, progress=lambda text: click.echo(text, err=True))
