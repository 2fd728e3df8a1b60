# SPDX-License-Identifier: Apache-2.0
"""Finds secrets in text: by their form, by the name before them, or because they are known.

Every pattern here runs in linear time: a value in a configuration must not be able to stall the command. Doubtful
text is redacted; messages for people may lose more than the secret.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import chain

REDACTED = "[REDACTED]"
"""The replacement for a secret, as in the Collector's output."""
MIN_SECRET_LENGTH = 4
"""The shortest known secret that is searched for in text; shorter ones would match everywhere."""

_NAMES = (
    r"pass(?:word|wd|phrase)?|pwd|secrets?|tokens?|auth(?:orization)?|api[-_]?keys?|access[-_]?keys?|private[-_]?keys?"
    r"|secret[-_]?keys?|credentials?|cookies?"
)
_SECRET_NAME = re.compile(rf"(?:^|[-_.])(?:{_NAMES})$", re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_KEY = re.compile(r"""(?<![A-Za-z0-9_.-])[A-Za-z0-9_.-]++(?=["']?\s*+[:=])""")
_SEPARATOR = re.compile(r"""(["']?)\s*+([:=])(\s*+)""")
_AUTHORITY = re.compile(r"[^/?#\s]*+")
_PORT = re.compile(r"[^@:]*+:\d++(?:$|[/?#\s\"'])")
_RUN = re.compile(r"[^\s\"']*+")
_PRIVATE_KEY = re.compile(r"(-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY).*", re.DOTALL)
_BEARER = re.compile(r"(?i)(?<![a-z0-9_-])(bearer\s++)\S++")
_SCHEME = re.compile(r"(?i)\A(\s*+(?:bearer|basic|digest|token)\s++)\S.*", re.DOTALL)
_TOKEN = re.compile(
    r"(?<![A-Za-z0-9_.-])(?:gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|LS0tLS1CRUdJTi|eyJ[A-Za-z0-9_-]{8,}+\.)"
    r"[A-Za-z0-9_.=+/-]{8,}+"
)
_LOGIN = re.compile(r"\S++")
_KNOWN_SECRETS: ContextVar[tuple[Collection[str], ...]] = ContextVar("known secrets", default=())


def is_secret_name(name: str) -> bool:
    """Whether a key of this name holds a secret (``api_key``, ``X-Auth-Token``; not the path ``token_file``)."""
    return _SECRET_NAME.search(_CAMEL.sub("_", name)) is not None


@contextmanager
def known_secrets(secrets: Collection[str]) -> Iterator[None]:
    """While active, this thread redacts these texts wherever they occur; more may be added meanwhile."""
    token = _KNOWN_SECRETS.set((*_KNOWN_SECRETS.get(), secrets))
    try:
        yield
    finally:
        _KNOWN_SECRETS.reset(token)


def is_known_secret(text: str) -> bool:
    """Whether ``text`` as a whole is a known secret."""
    return any(text in secrets for secrets in _KNOWN_SECRETS.get())


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """A message or log line without known secrets, ``secrets``, and text that is almost certainly one.

    The latter are user info of URLs, private keys and tokens.
    """
    text = _without_known(text, chain(*_KNOWN_SECRETS.get(), secrets))
    text = _PRIVATE_KEY.sub(rf"\1 {REDACTED}", text)
    text = _without_user_info(text)
    return _TOKEN.sub(REDACTED, _BEARER.sub(rf"\1{REDACTED}", text))


def redacted_value(text: str) -> str:
    """A user's value, `redacted`, and also without ``password=…``, ``Authorization: …`` and ``user:…@host``."""
    text = _SCHEME.sub(rf"\1{REDACTED}", _without_assigned(redacted(text)))
    return _LOGIN.sub(lambda word: _without_login(word[0]), text) if "@" in text else text


def _without_known(text: str, secrets: Iterable[str]) -> str:
    longest_first = sorted({each for each in secrets if len(each) >= MIN_SECRET_LENGTH}, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), REDACTED, text) if longest_first else text


def _without_user_info(text: str) -> str:
    """``text`` without user info between ``://`` and ``@``; a password may contain anything, even ``/`` and spaces."""
    last = text.rfind("@")
    done, position, run = [], 0, (0, -1)
    while (scheme := text.find("://", position, last + 1)) >= 0:
        start = scheme + 3
        if start >= run[0]:  # once per run without spaces, so that many URLs in one run stay linear
            run = _run(text, start)
        end = max(_end_of_user_info(text, start, run[1], last), start)
        done += [text[position:start], REDACTED if end > start else ""]
        position = end
    return "".join((*done, text[position:]))


def _run(text: str, start: int) -> tuple[int, int]:
    """The end of a run of characters without spaces and quotes, and the position of its last ``@``."""
    found = _RUN.match(text, start)
    end = found.end() if found else start
    return end, text.rfind("@", start, end)


def _end_of_user_info(text: str, start: int, last_in_run: int, last: int) -> int:
    """The position of the ``@`` that ends the user info starting at ``start``; lower if there is none."""
    found = _AUTHORITY.match(text, start)
    authority, end = (found[0], found.end()) if found else ("", start)
    name, colon, _ = authority.partition("@")[0].partition(":")
    if not colon or name.startswith("["):
        return text.rfind("@", start, end)
    # most likely a host and port, whose path may contain "@" as well; otherwise a name and the start of its password
    return last_in_run if _PORT.match(text, start) else last


def _without_assigned(text: str) -> str:
    """``text`` without what follows ``password=`` up to the next ``name=``, or ``password: `` up to the end."""
    keys, done, position = list(_KEY.finditer(text)), list[str](), 0
    for number, key in enumerate(keys):
        if key.start() < position or not is_secret_name(key[0]):
            continue
        separator = _SEPARATOR.match(text, key.end())
        if separator is None or (separator[2] == ":" and not _is_mapping(separator, text)):
            continue
        end = len(text) if separator[2] == ":" else _next_assignment(text, keys, number + 1)
        value = text[separator.end() : end]
        kept = len(value.rstrip(" &;,\t\r\n"))
        done += [text[position : separator.end()], REDACTED if kept else "", value[kept:]]
        position = end
    return "".join((*done, text[position:]))


def _is_mapping(separator: re.Match[str], text: str) -> bool:
    """Whether a colon follows a name, as in YAML, JSON and headers, rather than separating host and port."""
    return bool(separator[1] or separator[3]) or text[separator.end() : separator.end() + 1] in ("'", '"')


def _next_assignment(text: str, keys: Sequence[re.Match[str]], number: int) -> int:
    """The start of the first ``name=`` after a separator, among the keys from ``number`` on; or the end."""
    for place in range(number, len(keys)):
        key = keys[place]
        separator = _SEPARATOR.match(text, key.end())
        if text[key.start() - 1] in " &;,?\t\r\n" and separator is not None and separator[2] == "=":
            return key.start()
    return len(text)


def _without_login(word: str) -> str:
    """A word without the password in ``user:password@host``, a form that some databases use."""
    login, at, host = word.rpartition("@")
    user, colon, _ = login.partition(":")
    return f"{user}:{REDACTED}{at}{host}" if colon and "://" not in login and REDACTED not in login else word
