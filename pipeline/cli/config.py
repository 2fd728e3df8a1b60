# SPDX-License-Identifier: Apache-2.0
"""The commands that look at a configuration without running it: ``check``, ``print-config`` and ``schema``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import click

from ebpf_sidecar.pipeline.component import ComponentId, ComponentKind
from ebpf_sidecar.pipeline.config.component_sections import find_factory
from ebpf_sidecar.pipeline.config.json_schema import schema
from ebpf_sidecar.pipeline.config.load import Config, PipelineSettings, load, resolved
from ebpf_sidecar.pipeline.config.locations import config_sources
from ebpf_sidecar.pipeline.config.redaction import redacted_by_type, redacted_tree
from ebpf_sidecar.pipeline.config.yaml_scalars import dump
from ebpf_sidecar.pipeline.errors import PluginError
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.secrets_in_text import known_secrets
from ebpf_sidecar.pipeline.text_table import aligned

from .options import print_json, print_stderr


def check(files: Sequence[str], overrides: Sequence[str]) -> None:
    """Print "ok" and a picture of each pipeline, and warnings on standard error. Raises `ConfigError`."""
    config = load(config_sources(files), overrides, Plugins(), os.environ)
    for warning in config.warnings:
        print_stderr("warning: ", str(warning), colour="yellow")
    click.echo("\n".join(["ok", *_picture(config)]))


def _picture(config: Config) -> Iterator[str]:
    if config.service.extensions:
        yield f"extensions: {', '.join(map(str, config.service.extensions))}"
    for id_, pipeline in config.service.pipelines.items():
        yield f"{id_}:"
        yield from aligned(_flow(pipeline), gap="", indent="  ")


def _flow(pipeline: PipelineSettings) -> Iterator[tuple[str, ...]]:
    """Receivers on the left, exporters on the right, processors between them on the first line; plain ASCII."""
    receivers, exporters = [str(id_) for id_ in pipeline.receivers], [str(id_) for id_ in pipeline.exporters]
    joined, forked = "--+" if len(receivers) > 1 else "", len(exporters) > 1
    middle = "".join(f"--> {processor} " for processor in pipeline.processors)
    for row, (receiver, exporter) in enumerate(zip_longest(receivers, exporters, fillvalue="")):
        fork = ("  +" if row else "--+") if forked else ""
        right = f"{fork}--> {exporter}" if exporter else ""
        yield f"{receiver} ", joined if receiver else "", "" if row else middle, right


def print_config(files: Sequence[str], overrides: Sequence[str]) -> None:
    """Print the merged, expanded and redacted configuration. Raises `ConfigError`, after printing if possible."""
    given, plugins = config_sources(files), Plugins()
    secrets: set[str] = set()
    with known_secrets(secrets):
        tree = resolved(given, overrides, os.environ, secrets.add)
        click.echo(dump(redacted_tree(_without_declared_secrets(tree, plugins))), nl=False)
    load(given, overrides, plugins, os.environ)


def _without_declared_secrets(tree: dict[str, Any], plugins: Plugins) -> dict[str, Any]:
    """``tree`` without the settings that the components' own classes declare as secret."""
    for kind in ComponentKind:
        section = tree.get(kind.section)
        if isinstance(section, dict):
            bodies = {key: _without_secrets_of(kind, key, body, plugins) for key, body in section.items()}
            tree = {**tree, kind.section: bodies}
    return tree


def _without_secrets_of(kind: ComponentKind, key: str, body: Any, plugins: Plugins) -> Any:
    try:
        return redacted_by_type(body, find_factory(plugins, ComponentId.parse(kind, key)).settings)
    except (PluginError, ValueError):
        return body  # the check that follows explains it; names and values are still redacted


def print_schema() -> None:
    """Print the JSON Schema of a configuration with all installed components."""
    print_json(schema(Plugins()))
