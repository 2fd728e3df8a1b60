# SPDX-License-Identifier: Apache-2.0
"""The command ``ebpf-sidecar probe-schema``. Imports pydantic only when called, so that ``--help`` stays fast."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from ebpf_sidecar.pipeline.hooks import hookimpl


@click.command("probe-schema", context_settings={"help_option_names": ["-h", "--help"]})
def probe_schema() -> None:
    """Print the JSON Schema of a probe's YAML.

    With it an editor completes and checks what authors of probes write.

    \b
    Example, with the YAML language server (VS Code, Neovim, …):
      ebpf-sidecar probe-schema > probe.schema.json
      and as the first line of your probe:
      # yaml-language-server: $schema=probe.schema.json
    """
    from .shapes import schema

    click.echo(json.dumps(schema(), indent=2, ensure_ascii=False))


@hookimpl
def register_commands() -> Sequence[click.Command]:
    """The command ``probe-schema``."""
    return [probe_schema]
