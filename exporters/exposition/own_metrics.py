# SPDX-License-Identifier: Apache-2.0
"""The service's own metrics on the page: families whose names are already used on the page are left out."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet

_COMMENT = re.compile(rb"^# (?:HELP|TYPE|UNIT) ([a-zA-Z_:][a-zA-Z0-9_:]*)", re.MULTILINE)
_SUFFIXES = (b"", b"_total", b"_created", b"_bucket", b"_sum", b"_count", b"_info")


def without_names(text: bytes, taken: AbstractSet[str]) -> bytes:
    """``text`` (an exposition without the final EOF) without families that use a taken name."""
    taken_here = {name.encode() for name in taken}
    clashing = {name for name in set(_COMMENT.findall(text)) if any(name + end in taken_here for end in _SUFFIXES)}
    if not clashing:
        return text
    kept, inside = [], False
    for line in text.splitlines(keepends=True):
        comment = _COMMENT.match(line)
        if comment is not None:
            inside = comment[1] in clashing
        if not inside:
            kept.append(line)
    return b"".join(kept)
