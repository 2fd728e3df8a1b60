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

    with pytest.raises(AssertionError, match="encode made a str; make a Payload or a LeftOut"):
        check_contract(factory, {})


class Forgetful(FakeSender):
    def encode(self, frames):
        return super().encode(frames[1:])


def test_the_contract_refuses_points_that_are_in_no_payload_and_not_left_out_either():
    """Nobody could say what became of them."""
    factory = Factory(ComponentKind.EXPORTER, "forgetful", lambda *_: Forgetful(), Pushing, description="Sends some")

    with pytest.raises(AssertionError, match="encode accounted for 8 of 10 points; yield a LeftOut"):
        check_contract(factory, {})


def test_the_contract_allows_a_sender_to_leave_points_out():
    """It says so, and why."""
    sender = FakeSender(lost=["contract.gauge"], filtered=["contract.histogram"])
    factory = Factory(ComponentKind.EXPORTER, "fake", lambda *_: sender, Pushing, description="Sends to a list")
    check_contract(factory, {})

    assert 2 * 6 == sum(payload.points for payload in sender.payloads)
