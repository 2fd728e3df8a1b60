# SPDX-License-Identifier: Apache-2.0
"""Which streams are coloured."""

from __future__ import annotations

import os
from typing import TextIO


def wants_colours(stream: TextIO | None) -> bool:
    """Whether it is a terminal, unless the user wants none (https://no-color.org). None: it is closed."""
    return stream is not None and stream.isatty() and not os.environ.get("NO_COLOR")
