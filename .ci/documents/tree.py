# SPDX-License-Identifier: Apache-2.0
"""Where things are, and what this tree, as opposed to the machine, has installed."""

from __future__ import annotations

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from ebpf_sidecar.pipeline.plugins import PROJECT, Plugins

ROOT = Path(__file__).resolve().parents[2]


def project() -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def plugins() -> Plugins:
    """Only our own components: others installed here are not part of our documents."""
    entries = project()["project"]["entry-points"][PROJECT]
    return Plugins([EntryPoint(name, module, PROJECT) for name, module in entries.items()])
