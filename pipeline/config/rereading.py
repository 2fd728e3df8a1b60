# SPDX-License-Identifier: Apache-2.0
"""Reads the same configuration again, and tells whether its files have changed since.

Files are compared by content, whatever a path leads to at the time: Kubernetes replaces a link above the files of a
ConfigMap, editors replace the file. Only regular files are looked at: a pipe could be read only once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ebpf_sidecar.pipeline.plugins import Plugins

from .bounded_read import UnreadableError, read_file
from .load import Config, load
from .sources import ConfigSource

_UNREADABLE = 0


@dataclass
class ConfigReader:
    """The sources of a configuration, and the content that its files had when they were last read.

    The content is remembered as a hash, since it may hold secrets.
    """

    sources: Sequence[ConfigSource]
    overrides: Sequence[str]
    plugins: Plugins
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    _seen: Mapping[Path, int] = field(default_factory=dict)

    def read(self) -> Config:
        """The configuration as it is now. Raises `ConfigError` with every mistake."""
        seen: dict[Path, int] = {}

        def noting(path: Path) -> bytes:
            seen[path] = _UNREADABLE
            content = read_file(path)
            seen[path] = hash(content)
            return content

        try:
            return load(self.sources, self.overrides, self.plugins, self.environ, noting)
        finally:
            self._seen = seen

    def changed(self) -> bool:
        """Whether a file has another content than when it was last read, be that valid or not."""
        return any(_content(path, before) != before for path, before in self._seen.items())


def _content(path: Path, otherwise: int) -> int:
    """The hash of a file's content; ``otherwise`` of what is no regular file."""
    try:
        return hash(read_file(path)) if path.is_file() or not path.exists() else otherwise
    except (UnreadableError, OSError):
        return _UNREADABLE
