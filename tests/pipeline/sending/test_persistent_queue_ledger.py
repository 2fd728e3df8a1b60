# SPDX-License-Identifier: Apache-2.0
"""Every point of a queue on disk is accounted for, at every moment and from process to process."""

from hypothesis import given, settings
from hypothesis import strategies as st
from observed_queue import DOWN, soon, started
from stored_payloads import DISK_FULL, Folder, Unreliable, payload, stored
from waiting import until

from ebpf_sidecar.pipeline.payload import SendError
from ebpf_sidecar.pipeline.payload_store import DamageError
from ebpf_sidecar.pipeline.testing import FakeSender, frame

STEPS = st.lists(
    st.one_of(st.integers(0, 4), st.sampled_from(["up", "down", "refuse", "full", "empty", "end", "late end"])),
    max_size=14,
)


class Switched(FakeSender):
    """A back end that answers as it was last told."""

    def __init__(self):
        super().__init__(points_each=2)
        self.problem = None

    def send(self, payload):
        if self.problem:
            raise self.problem
        super().send(payload)


SWITCHES = {"up": None, "down": DOWN, "refuse": SendError("refused")}


def unaccounted(queue, offered):
    """How many points are nowhere, at one moment."""
    counts = queue.accounting
    with queue._changed:
        assert (0, offered) == (queue.balance().difference, queue.balance().offered)
        settled = counts["sent"] + counts["send_failed"] + counts["enqueue_failed"]
        return offered + counts["restored"] - settled - queue.queued_points()


@settings(deadline=None, max_examples=40)
@given(STEPS, st.sampled_from([1, 3]), st.sampled_from([3, 1000]))
def test_the_ledger_closes_at_every_moment_in_every_process(tmp_path_factory, steps, consumers, capacity):
    """Offered and restored are sent, failed, dropped or queued; the next process restores what was queued."""
    folder, sender = Unreliable(tmp_path_factory.mktemp("ledger")), Switched()
    limits = {"num_consumers": consumers, "queue_size": capacity, "sizer": "items"}
    queue, offered, left = started(sender, folder, queue=limits), 0, 0
    for step in steps:
        if step in SWITCHES:
            sender.problem = SWITCHES[step]
        elif step in ("full", "empty"):
            folder.last.failing = dict(DISK_FULL) if step == "full" else {}
        elif step in ("end", "late end"):
            folder.last.failing = {}
            queue.shutdown(soon() if step == "late end" else None)
            left = queue.queued_points()
            assert 0 == unaccounted(queue, offered) == queue.telemetry.drops["shutdown"]
            queue, offered = started(sender, folder, queue=limits), 0
            assert left == queue.accounting["restored"]
        else:
            queue.consume([frame("m", list(range(step)))])
            offered += step
        assert 0 == unaccounted(queue, offered)
    sender.problem, folder.last.failing = None, {}
    assert until(lambda: not queue.queued_points(), 10) or not queue.queued_points()
    queue.shutdown()

    assert 0 == unaccounted(queue, offered) == queue.queued_points()
    assert {} == {reason: n for reason, n in queue.telemetry.drops.items() if reason not in ("queue_full", "refused")}


class DamagedOnOpening(Folder):
    """A store that finds out that its first payload is damaged when it is asked for its last one."""

    def open_store(self, name):
        store = super().open_store(name)
        found, last = [DamageError("payload 1 is damaged", 1)], store.last

        def once_damaged():
            if found:
                store.remove([1])
                raise found.pop()
            return last()

        store.last = once_damaged
        return store


def test_what_is_found_damaged_while_a_queue_is_opened_was_restored_and_is_lost(tmp_path):
    """An earlier process has counted it as left; it cannot vanish between the two."""
    with stored(Folder(tmp_path), "test") as store:
        store.add({1: payload(1, points=3), 2: payload(2, points=4)}, set())
    queue = started(FakeSender(), DamagedOnOpening(tmp_path))
    found = queue.balance()
    queue.shutdown()

    assert (7, 0, {"corrupt": 3}) == (found.restored, found.difference, found.dropped)
    assert (4, 3) == (queue.balance().delivered, queue.telemetry.drops["corrupt"])
