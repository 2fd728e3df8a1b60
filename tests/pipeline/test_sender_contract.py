# SPDX-License-Identifier: Apache-2.0
"""The published contract for senders."""

import pytest

from ebpf_sidecar.pipeline import ComponentKind, Factory, PushSettings
from ebpf_sidecar.pipeline.testing import FakeSender, check_contract


class Pushing(PushSettings):
    """Nothing of its own."""


def test_a_sender_keeps_the_contract():
    """Each payload can be sent as created and as read back from a disk."""
    sender = FakeSender()
    factory = Factory(ComponentKind.EXPORTER, "fake", lambda *_: sender, Pushing, description="Sends to a list")
    check_contract(factory, {"sending_queue": {"queue_size": 3}})

    assert 2 * 10 == sum(payload.points for payload in sender.payloads)


class Wordy(FakeSender):
    def encode(self, frames):
        return [str(frames)]


def test_the_contract_refuses_payloads_that_are_none():
    """What a queue keeps must have a size and a number of points."""
    factory = Factory(ComponentKind.EXPORTER, "wordy", lambda *_: Wordy(), Pushing, description="Sends text")

    with pytest.raises(AssertionError, match="encode made a str; make a Payload"):
        check_contract(factory, {})
