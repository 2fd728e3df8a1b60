# SPDX-License-Identifier: Apache-2.0
"""The ledger adds up what belongs together, and forgets what has gone."""

from ebpf_sidecar.pipeline.balance import Balance
from ebpf_sidecar.pipeline.telemetry.ledger import INCOMING, OUTGOING, UNACCOUNTED, Ledger, Published

OTLP = (("exporter", "otlp"),)


def test_the_account_of_a_predecessor_is_added_until_it_has_drained():
    """During a reload, an exporter has two queues; what one of them lost is not hidden by the other."""
    ledger = Ledger()
    before, after = Published(ledger), Published(ledger)
    before.account(OTLP, lambda: Balance(offered=5, delivered=3, queued=1))
    after.account(OTLP, lambda: Balance(offered=2, queued=2))
    both = ledger.balances(), ledger.read(UNACCOUNTED)
    before.withdraw()
    one = ledger.balances(), ledger.read(UNACCOUNTED)
    after.withdraw()

    assert ({OTLP: Balance(offered=7, delivered=3, queued=3)}, {OTLP: 1.0}) == both
    assert ({OTLP: Balance(offered=2, queued=2)}, {OTLP: 0.0}) == one
    assert ({}, {}) == (ledger.balances(), ledger.read(UNACCOUNTED))


def test_counters_that_belong_together_grow_together():
    """Whoever reads both sees neither without the other."""
    ledger = Ledger()
    ledger.add_together({INCOMING: 3, OUTGOING: 2}, OTLP)
    ledger.add_together({INCOMING: 1, OUTGOING: 0}, OTLP)

    assert [{OTLP: 4}, {OTLP: 2}] == ledger.counts_of(INCOMING, OUTGOING)
