# SPDX-License-Identifier: Apache-2.0
"""Which format and encoding a scraper wants, from its Accept headers (RFC 9110, section 12.5)."""

from __future__ import annotations

from collections.abc import Iterator


def wants_openmetrics(accept: str) -> bool:
    """Whether OpenMetrics 1.0 is preferred at least as much as text 0.0.4, which every scraper understands.

    Other parameters, such as Prometheus 3's ``escaping``, do not matter: our names need no escaping.
    """
    openmetrics = text = -1.0
    for media, parameters, quality in _ranges(accept):
        version = parameters.get("version", "")
        if media == "application/openmetrics-text" and version in ("", "0.0.1", "1.0.0"):
            openmetrics = max(openmetrics, quality)
        elif media in ("text/plain", "text/*", "*/*") and version in ("", "0.0.4"):
            text = max(text, quality)
    return openmetrics > 0 and openmetrics >= text


def takes_created(accept: str) -> bool:
    """Whether an OpenMetrics scraper is known to interpret ``_created`` as the start time of a series.

    Prometheus does if it is configured to use start times, and then it prefers protobuf, which we do not support;
    otherwise it would store them as series of their own.
    """
    ranges = list(_ranges(accept))
    protobuf = max((quality for media, _, quality in ranges if media == "application/vnd.google.protobuf"), default=0.0)
    text = max((quality for media, _, quality in ranges if media == "application/openmetrics-text"), default=0.0)
    return protobuf > 0 and protobuf >= text


def wants_gzip(accept_encoding: str) -> bool:
    """Whether the response may be compressed."""
    qualities = {coding: quality for coding, _, quality in _ranges(accept_encoding)}
    return qualities.get("gzip", qualities.get("*", 0.0)) > 0


def _ranges(header: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """The header's entries in lower case with their parameters and q; an unreadable q counts as 0."""
    for entry in header.lower().split(","):
        value, *parameters = (part.strip() for part in entry.split(";"))
        pairs = {
            name.strip(): content.strip().strip('"') for name, _, content in (p.partition("=") for p in parameters)
        }
        yield value, pairs, _quality(pairs.get("q", "1"))


def _quality(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0
