# SPDX-License-Identifier: Apache-2.0
"""The command ``ebpf-sidecar selftest``. Imports the implementation only when called, so that ``--help`` stays fast."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ebpf_sidecar.pipeline.cli.options import config_options
from ebpf_sidecar.pipeline.errors import ProbeError
from ebpf_sidecar.pipeline.hooks import hookimpl

if TYPE_CHECKING:
    from .session import Session


# repeated here: click keeps its first answer, and a command may be called without its group
_REAL, _EMULATED = 240.0, 480.0
"""Seconds that loading may take: an emulated CPU compiles 20 times slower than a real one."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@config_options
@click.option("--probe", "names", multiple=True, metavar="NAME", help="Test this probe; again for more; else all.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--quick", is_flag=True, help="Use small files: for slow machines and emulators.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Where temporary files go; default: a writable folder on a disk.",
)
def selftest(
    files: Sequence[str],
    overrides: Sequence[str],
    names: Sequence[str],
    *,
    as_json: bool,
    quick: bool,
    folder: Path | None,
) -> int:
    """Check that the probes count correctly on this machine.

    Runs known workloads and prints, for each metric, the expected value, the measured value and the oracle. Takes less
    than 30 seconds and leaves nothing behind. With --config it tests the probes of that file with their settings. Exit
    code 0: all available metrics are right.

    \b
    Examples:
      ebpf-sidecar selftest
      ebpf-sidecar selftest --probe page_cache --json | jq .totals
      ebpf-sidecar selftest --folder /var/lib/postgresql
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as set by nohup
            signal.signal(number, _leave)
    session = _session(files, overrides, names, quick=quick, folder=folder)
    report = session.run()
    from .report import lines_of

    if report.error and not as_json:
        raise ProbeError(report.error)
    click.echo(report.to_json() if as_json else "\n".join(lines_of(report)))
    return 0 if report.right else 1


def _session(
    files: Sequence[str], overrides: Sequence[str], names: Sequence[str], *, quick: bool, folder: Path | None
) -> Session:
    from ebpf_sidecar.pipeline.plugins import Plugins
    from ebpf_sidecar.receivers.ebpf.probe.file import find_probes, read_probe

    from .choosing import chosen_probes
    from .progress import ProgressLine
    from .session import Session

    plugins = Plugins()
    found = find_probes(plugins.probe_folders())
    chosen: Mapping[str, Mapping[str, Any]] = chosen_probes(files, overrides, names, found, plugins)
    probes = [read_probe(found[name]) for name in chosen]
    patience = _EMULATED if quick else _REAL
    return Session(probes, chosen, folder, quick, patience, progress=ProgressLine(sys.stderr))


def _leave(number: int, _: object) -> NoReturn:
    """Exit by an exception, so that everything is cleaned up."""
    raise SystemExit(128 + number)


@hookimpl
def register_commands() -> Sequence[click.Command]:
    """The command ``selftest``."""
    return [selftest]
