# SPDX-License-Identifier: Apache-2.0
"""The exception hierarchy and exit codes.

    SidecarError
    ├── ConfigError        the user's file is wrong        (exit code 2)
    ├── PluginError        a component cannot be loaded    (exit code 2)
    ├── ProbeError         the kernel side cannot work     (exit code 1)
    ├── FrameError         a component built an invalid frame (a bug in the component)
    ├── RefusedError       a processor accepts no data for now; the receiver gets the batch back
    ├── ExportError        an exporter could not take data
    └── SendError          a payload was not delivered, or only in part (`payload.py`)

Messages read ``where: what is wrong; what to do``: lower case, no full stop, the user's own word in quotes. Known
secrets, and text that looks like one, are redacted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from .secrets_in_text import redacted


class SidecarError(Exception):
    """The base class of all our errors. ``component`` is the id as written in the file, or empty."""

    def __init__(self, message: str, *, component: str = "") -> None:
        super().__init__(redacted(message))
        self.component = component


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """One thing wrong in a configuration: ``path`` as ``service::pipelines::metrics``, and what is wrong there.

    ``where``: ``file:line:column`` as compilers write it, so that editors can jump there; empty if unknown.
    """

    path: str
    message: str
    where: str = ""

    @property
    def rest(self) -> str:
        """Path and message on one line, without terminal control characters from the file."""
        return printable(f"{self.path}: {self.message}" if self.path else self.message)

    def __str__(self) -> str:
        return f"{self.where}: {self.rest}" if self.where else self.rest

    def without_secrets(self) -> Mistake:
        """The same mistake with secrets redacted."""
        return replace(self, path=redacted(self.path), message=redacted(self.message))


def printable(text: str) -> str:
    """``text`` with line breaks, control characters and lone surrogates escaped."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


class ConfigError(SidecarError):
    """The configuration cannot be used; ``mistakes`` lists everything that is wrong with it, not only the first."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistake.without_secrets() for mistake in mistakes)
        super().__init__("\n".join(map(str, self.mistakes)))


class PluginError(SidecarError):
    """A plugin cannot be loaded or breaks the contract; the message names its distribution and the cause."""


class ProbeError(SidecarError):
    """A probe cannot be compiled, loaded, attached or read."""


class FrameError(SidecarError, ValueError):
    """A frame or row set was built from inconsistent parts."""


class RefusedError(SidecarError):
    """A processor accepts no data for now. ``retry_after``: seconds until a retry makes sense."""

    def __init__(self, message: str, *, retry_after: float = 0.0, component: str = "") -> None:
        super().__init__(message, component=component)
        self.retry_after = retry_after


class ExportError(SidecarError):
    """An exporter could not take a batch, which is lost for this exporter."""


@contextmanager
def redacting(secrets: Collection[str]) -> Iterator[None]:
    """Redact ``secrets`` in any of our errors raised inside."""
    try:
        yield
    except SidecarError as error:
        error.args = tuple(redacted(str(each), secrets) for each in error.args)
        raise
