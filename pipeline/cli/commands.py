# SPDX-License-Identifier: Apache-2.0
"""The command ``ebpf-sidecar``: its subcommands and exit codes.

This module imports little, so that ``--help``, ``version`` and shell completion start fast; each command imports its
implementation when it is called. Exit codes: 0 success, 1 failure, 2 wrong configuration, plugin or command line,
130 interrupted, 141 the reader closed the output, as with every filter.
"""

from __future__ import annotations

import os
import platform
import signal
from collections.abc import Sequence
from importlib.metadata import version as version_of
from pathlib import Path

import click

from ebpf_sidecar.pipeline.errors import ConfigError, PluginError, SidecarError
from ebpf_sidecar.pipeline.output import OUTPUT_CLOSED, OutputError

from .options import config_options, print_stderr
from .plugin_group import ExtensibleGroup

PROGRAM = "ebpf-sidecar"
_COMPLETE = "_EBPF_SIDECAR_COMPLETE"
_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_SHELLS = ["bash", "zsh", "fish"]


def exit_code(arguments: Sequence[str]) -> int:
    """The exit code of the command line ``arguments``; problems are explained on standard error."""
    try:
        return cli.main(list(arguments), PROGRAM, complete_var=_COMPLETE, standalone_mode=False) or 0
    except click.Abort:
        return 128 + signal.SIGINT
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except SidecarError as error:
        if isinstance(error, OutputError) and error.closed:  # by its reader, as in "components | head -1"
            return OUTPUT_CLOSED
        _explain(error)
        return 2 if isinstance(error, (ConfigError, PluginError)) else 1


def _explain(error: SidecarError) -> None:
    if isinstance(error, ConfigError):
        for mistake in error.mistakes:
            print_stderr(
                click.style(f"{mistake.where}: ", dim=True) if mistake.where else "", mistake.rest, colour="red"
            )
    else:
        print_stderr(f"{error.component}: " if error.component else "", str(error), colour="red")


@click.group(cls=ExtensibleGroup, context_settings=_SETTINGS)
@click.version_option(version_of(PROGRAM), "-V", "--version", prog_name=PROGRAM)
def cli() -> None:
    """Storage performance as the kernel sees it, per container, in an OpenTelemetry-style pipeline.

    \b
    Examples:
      ebpf-sidecar run                              the packaged configuration, Prometheus on 127.0.0.1:18080
      ebpf-sidecar run --config mine.yaml           your own
      ebpf-sidecar check --config mine.yaml         find every mistake without starting anything
      ebpf-sidecar doctor                           check this machine, and which privileges are needed
      ebpf-sidecar components                       what can be written into a configuration
    """


@cli.command()
@config_options
@click.option("--or-replay", is_flag=True, help="If eBPF cannot be used, say why and replay a recording instead.")
def run(files: Sequence[str], overrides: Sequence[str], *, or_replay: bool) -> int:
    """Run the pipelines until SIGINT or SIGTERM.

    \b
    Examples:
      ebpf-sidecar run
      ebpf-sidecar run --config base.yaml --config site.yaml
      ebpf-sidecar run --set receivers.ebpf.collection_interval=1s
      EBPF_SIDECAR_EXPORT_TYPE=debug ebpf-sidecar run
    """
    from ebpf_sidecar.pipeline.running.stop_request import StopRequest

    request = StopRequest()
    request.note_signals()  # before slow imports: a reload signal must not kill the process
    from . import run as work

    return work.run(files, overrides, request, or_replay=or_replay)


@cli.command()
@config_options
def check(files: Sequence[str], overrides: Sequence[str]) -> None:
    """Find every mistake in a configuration.

    Prints "ok" and a picture of the pipelines. Starts nothing and needs no privileges. Warnings are about settings
    that work, but are probably not intended.

    \b
    Example:
      ebpf-sidecar check --config mine.yaml
    """
    from . import config as work

    work.check(files, overrides)


@cli.command()
@config_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def doctor(files: Sequence[str], overrides: Sequence[str], *, as_json: bool) -> int:
    """Check whether this machine can run a configuration.

    Each line says ok, note or problem, and how to fix it. Ends with the smallest Kubernetes securityContext and the
    docker flags that suffice. Changes nothing. Exit code 1 if there is a problem.

    \b
    Examples:
      ebpf-sidecar doctor
      ebpf-sidecar doctor --config mine.yaml --json | jq '.findings[] | select(.verdict == "problem")'
    """
    from . import doctor as work

    return work.doctor(files, overrides, as_json=as_json)


@cli.command("print-config")
@config_options
def print_config(files: Sequence[str], overrides: Sequence[str]) -> None:
    """Print the merged and expanded configuration.

    Secrets are redacted. It is printed even if components in it are wrong; standard error then explains why.

    \b
    Example:
      ebpf-sidecar print-config --config base.yaml --config site.yaml
    """
    from . import config as work

    work.print_config(files, overrides)


@cli.command()
def schema() -> None:
    """Print the JSON Schema of a configuration.

    With it an editor completes and checks what you write.

    \b
    Example, with the YAML language server (VS Code, Neovim, …):
      ebpf-sidecar schema > ebpf-sidecar.schema.json
      and as the first line of your file:
      # yaml-language-server: $schema=ebpf-sidecar.schema.json
    """
    from . import config as work

    work.print_schema()


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list instead of a table.")
@click.option("--metrics", is_flag=True, help="List the metrics that they make instead.")
def components(*, as_json: bool, metrics: bool) -> None:
    """List the installed components, or their metrics.

    Shows kind, type, stability, package and description. Plugins that cannot be loaded are listed with the cause; they
    affect neither this command nor configurations that do not use them.

    \b
    Example:
      ebpf-sidecar components --json | jq '.[] | select(.kind == "processor")'
      ebpf-sidecar components --metrics
    """
    from . import components as work

    (work.metrics if metrics else work.components)(as_json=as_json)


@cli.command()
@config_options
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, allow_dash=True),
    help='File to write, "-" for standard output.',
)
@click.option("--duration", default="30s", show_default=True, help="How long to record, as in 30s or 2m.")
def record(files: Sequence[str], overrides: Sequence[str], output: str, duration: str) -> None:
    """Record what the receivers produce.

    The receiver "replay" plays it back: to try the pipelines on machines without eBPF, or to analyze a problem
    elsewhere.

    \b
    Examples:
      ebpf-sidecar record --output incident.recording --duration 2m
      ebpf-sidecar record --output - | ssh elsewhere 'cat > incident.recording'
    """
    from . import run as work

    work.record(files, overrides, None if output == "-" else Path(output), duration)


@cli.command()
@config_options
@click.option("--endpoint", metavar="HOST:PORT", help="Where the service answers. Default: as configured.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def stats(files: Sequence[str], overrides: Sequence[str], endpoint: str | None, *, as_json: bool) -> int:
    """Show what became of the data of a running service.

    For each exporter, in data points: offered and restored, less what was delivered, waits, was dropped or filtered, by
    reason. The difference is 0. Below: what processors made and removed, and what was lost in the kernel. Exit code 1
    if a difference is not 0.

    \b
    Examples:
      ebpf-sidecar stats
      ebpf-sidecar stats --endpoint 127.0.0.1:13133 --json | jq '.exporters[] | {id, dropped}'
    """
    from . import stats as work

    return work.stats(files, overrides, endpoint, as_json=as_json)


@cli.command()
def version() -> None:
    """Print the versions of this program, Python and the kernel."""
    python, kernel = platform.python_version(), f"{platform.system()} {platform.release()} {platform.machine()}"
    click.echo(f"{PROGRAM} {version_of(PROGRAM)} (Python {python}, {kernel})")


@cli.command()
@click.argument("shell", type=click.Choice(_SHELLS), default=lambda: Path(os.environ.get("SHELL", "bash")).name)
def completion(shell: str) -> None:
    """Print the completion code for a shell.

    Without an argument: for the current shell.

    \b
    Examples:
      eval "$(ebpf-sidecar completion bash)"                                  in ~/.bashrc
      eval "$(ebpf-sidecar completion zsh)"                                   in ~/.zshrc
      ebpf-sidecar completion fish > ~/.config/fish/completions/ebpf-sidecar.fish
    """
    from click.shell_completion import get_completion_class

    if kind := get_completion_class(shell):
        click.echo(kind(cli, {}, PROGRAM, _COMPLETE).source())
