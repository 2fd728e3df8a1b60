# SPDX-License-Identifier: Apache-2.0
"""What the HTTP servers refuse is counted always and logged rarely."""

import logging

from ebpf_sidecar.pipeline.http.refusals import _TEXTS, QUIET_SECONDS, HttpRefusal, RefusalCounter
from ebpf_sidecar.pipeline.telemetry.ledger import Ledger


def test_a_flood_is_one_line_and_counted_in_full(caplog):
    """And one more line after a while, with their number."""
    now = [0.0]
    refusals = RefusalCounter(Ledger(), logging.getLogger("test"), lambda: now[0])
    for _ in range(1000):
        refusals.add("a:1", HttpRefusal.MALFORMED)
    first = len(caplog.records)
    now[0] = QUIET_SECONDS
    refusals.add("a:1", HttpRefusal.MALFORMED)

    assert 1 == first
    assert "http a:1: an invalid HTTP request was answered with 400 or 501 (1000 since" in caplog.messages[-1]
    assert 1001 == refusals.count("a:1", HttpRefusal.MALFORMED)


def test_endpoints_and_reasons_are_kept_apart(caplog):
    """Each has a line and a count of its own."""
    refusals = RefusalCounter(Ledger(), logging.getLogger("test"))
    for endpoint, reason in [
        ("a:1", HttpRefusal.MALFORMED),
        ("b:1", HttpRefusal.MALFORMED),
        ("a:1", HttpRefusal.PEER_GONE),
    ]:
        refusals.add(endpoint, reason)

    assert 3 == len(set(caplog.messages))
    assert (1, 0) == (refusals.count("a:1", HttpRefusal.PEER_GONE), refusals.count("b:1", HttpRefusal.PEER_GONE))


def test_every_reason_has_its_words():
    """Or its first line would be a traceback."""
    assert set(HttpRefusal) == set(_TEXTS)
