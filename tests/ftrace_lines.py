# SPDX-License-Identifier: Apache-2.0
"""Parses lines of the kernel's ftrace: ``python-123 [000] d..1. 45.678901: event: words``."""

import re

BETWEEN_NS = 40_000
"""Between the kernel's own two events and the probe's readings of the clock lies what the probe does, which an emulated
processor takes some 20 microseconds for."""

_LINE = re.compile(r"-(\d+)\s+\[\d+\].*?\s(\d+)\.(\d{6}): (\w+): (.*)")


def thread_of(line):
    """The thread that a line is about."""
    return int(_LINE.search(line)[1])


def event_of(line):
    """Its event, without the category."""
    return _LINE.search(line)[4]


def request_of(line):
    """Device and first sector, which identify a request until another one is merged in front of it."""
    return re.search(r"(\d+,\d+) .* (\d+) \+ \d+", _LINE.search(line)[5]).groups()


def durations_between(lines, whose, begin, end):
    """Nanoseconds between each event whose name ends with ``begin`` and the next of the same one with ``end``."""
    open_since, found = {}, []
    for line in lines:
        _, seconds, micros, event, _ = _LINE.search(line).groups()
        now = int(seconds + micros) * 1000
        if event.endswith(begin):
            open_since.setdefault(whose(line), now)
        elif event.endswith(end) and whose(line) in open_since:
            found.append(now - open_since.pop(whose(line)))
    return found
