# SPDX-License-Identifier: Apache-2.0
"""Shared by several commands: the options that select a configuration, messages on standard error, and JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ebpf_sidecar.pipeline.terminal import wants_colours

_Command = TypeVar("_Command", bound=Callable[..., Any])


def print_stderr(prefix: str, message: str, *, colour: str) -> None:
    """Print one line on standard error, coloured only on a terminal and unless NO_COLOR is set."""
    click.echo(prefix + click.style(message, fg=colour), err=True, color=wants_colours(sys.stderr))


def print_json(value: Any) -> None:
    """Print a value of JSON's types on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def config_options(command: _Command) -> _Command:
    """The options of every command that reads a configuration."""
    config = click.option(
        "-c",
        "--config",
        "files",
        multiple=True,
        envvar="EBPF_SIDECAR_CONFIG",
        show_envvar=True,
        type=click.Path(allow_dash=True),
        help='Configuration file, "-" for standard input, env:NAME or yaml:TEXT; later ones win. '
        "Default: the packaged one.",
    )
    override = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="PATH=VALUE",
        help="Change one setting, as in receivers.ebpf.collection_interval=5s (or with :: between the keys).",
    )
    return config(override(command))
