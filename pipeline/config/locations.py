# SPDX-License-Identifier: Apache-2.0
"""Configuration locations on the command line: files, and the Collector's other schemes.

``-`` is standard input, ``env:NAME`` the content of a variable, ``yaml:a::b: c`` the text itself, ``file:path`` a file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ebpf_sidecar.pipeline.errors import ConfigError, Mistake

from .bounded_read import UnreadableError, read_stream
from .sources import ConfigSource, InlineSource

_PACKAGE = Path(__file__).parents[2]
DEFAULT = _PACKAGE / "configs" / "default.yaml"
"""The packaged configuration that runs when no file is given."""
REPLAY = _PACKAGE / "configs" / "replay.yaml"
"""The packaged configuration that replays a recording, if eBPF cannot be used."""


def config_sources(files: Sequence[str | Path]) -> list[ConfigSource]:
    """The locations as sources; by default the packaged configuration. Raises `ConfigError`."""
    names = [str(file) for file in files]
    if names.count("-") > 1:
        raise ConfigError([Mistake("", 'standard input can be read only once; name "-" once', "stdin")])
    return [_source(name) for name in names] or [DEFAULT]


def _source(name: str) -> ConfigSource:
    scheme, colon, rest = name.partition(":")
    if name == "-":
        return InlineSource(_standard_input())
    if colon and scheme == "yaml":
        return InlineSource(os.fsencode(rest), "yaml:", paths=True)
    if colon and scheme == "env":
        return _variable(rest)
    return Path(rest if colon and scheme == "file" else name)


def _standard_input() -> bytes:
    try:
        return read_stream(sys.stdin.buffer)
    except UnreadableError as error:
        raise ConfigError([Mistake("", str(error), "stdin")]) from error


def _variable(name: str) -> InlineSource:
    content = os.environ.get(name)
    if content is None:
        message = "the environment variable is not set; set it, or leave this --config out"
        raise ConfigError([Mistake("", message, f"env:{name}")])
    return InlineSource(os.fsencode(content), f"env:{name}", paths=True)
