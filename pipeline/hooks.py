# SPDX-License-Identifier: Apache-2.0
"""Hook specifications: what a plugin may implement. Imports little, so that commands start fast."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import click

    from .checks import Check
    from .component import Factory

PROJECT = "ebpf_sidecar"
"""The entry-point group, and pluggy's name for the project."""
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Hooks:
    """What a plugin may implement."""

    @hookspec
    def register_components(self) -> Sequence[Factory]:  # type: ignore[empty-body] # pluggy calls plugins, not this
        """Return the factories of the components that this plugin brings."""

    @hookspec
    def register_probes(self) -> Sequence[Path]:  # type: ignore[empty-body] # pluggy calls plugins, not this
        """Return the folders that hold this plugin's probe pairs (<probe>.c and <probe>.yaml)."""

    @hookspec
    def register_commands(self) -> Sequence[click.Command]:  # type: ignore[empty-body] # pluggy calls plugins, not this
        """Return commands of the command line. Their entry point is ``command.<name>``; ``--help`` imports it too."""

    @hookspec
    def register_checks(self) -> Sequence[Check]:  # type: ignore[empty-body] # pluggy calls plugins, not this
        """Return checks of the machine for the command ``doctor``."""
