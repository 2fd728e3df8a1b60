# SPDX-License-Identifier: Apache-2.0
"""The eBPF receiver's life: readings on time, failures counted, a last reading before the end."""

import re

import pytest
from pydantic import ValidationError

from ebpf_sidecar.pipeline.component import ComponentKind, MapCleanup
from ebpf_sidecar.pipeline.errors import ProbeError
from ebpf_sidecar.pipeline.testing import FakeClock, RecordedHeartbeat, RecordedTelemetry, Sink, fake_context, frame
from ebpf_sidecar.receivers.ebpf import receiver as module
from ebpf_sidecar.receivers.ebpf.loading import build_request
from ebpf_sidecar.receivers.ebpf.loading.map_sizing import SizingMachine
from ebpf_sidecar.receivers.ebpf.maps.loaded import HookStatus
from ebpf_sidecar.receivers.ebpf.owners.attribution import GroupBy
from ebpf_sidecar.receivers.ebpf.receiver import EbpfReceiver
from ebpf_sidecar.receivers.ebpf.settings import EbpfSettings

NAMING = ("program_starts", "name_taken", "process_moved")


class ProbeCollection:
    """Probes that the test plays."""

    compile_seconds = 0.4
    kept = False
    hooks = (
        HookStatus("page_cache", "page_add", "add", ""),
        HookStatus("page_cache", "page_lookup", "", "not there; build another kernel", brief="no lookups"),
        HookStatus("syscalls", "signal", "", "nor this"),
    )

    own_hooks = (HookStatus("", "cgroup_made", "", "no such event"),)

    def __init__(self, clock, takes=0.0):
        self.unavailable = {"ebpf.cache.read_attempts": "not there; build another kernel"}
        self.loaded, self.clock, self.takes = self, clock, takes
        self.problems, self.readings, self.closed = [], 0, False

    def collect(self):
        self.readings += 1
        self.clock.advance(self.takes)
        if self.problems:
            raise self.problems.pop()
        return [frame("ebpf.cache.misses", [self.readings], time_unix_nano=self.clock.time_ns())]

    def forgotten_rows(self):
        return 0

    def losses(self):
        return {"requests": self.readings}

    def rows_beyond_limit(self):
        return 0

    def close(self):
        self.closed = True


@pytest.fixture
def parts(monkeypatch):
    """A receiver over a played collection: clock, collection, telemetry, heartbeat, sink, receiver."""
    clock, telemetry, heartbeat = FakeClock(), RecordedTelemetry(), RecordedHeartbeat()
    collection, sink = ProbeCollection(clock), Sink()
    monkeypatch.setattr(module, "open_collection", lambda *_: collection)
    context = fake_context(ComponentKind.RECEIVER, "ebpf", clock=clock, telemetry=telemetry, heartbeat=heartbeat)
    receiver = EbpfReceiver(EbpfSettings(collection_interval="10s"), context)
    yield clock, collection, telemetry, heartbeat, sink, receiver
    receiver.shutdown()


def test_a_failed_start_leaves_nothing_in_the_kernel(parts, monkeypatch):
    """Otherwise programs would keep running; and there is no thread to wait for."""
    *_, receiver = parts
    collection = parts[1]

    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(module.threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        receiver.start(parts[4])

    assert collection.closed


def test_the_first_reading_is_at_once_and_the_next_after_the_interval(parts):
    """A user sees numbers as soon as the service is up."""
    clock, _, _, heartbeat, sink, receiver = parts
    receiver.start(sink)
    sink.until(1)
    for batches in (2, 3):
        clock.until_waiting()
        clock.advance(10.0)
        sink.until(batches)

    assert 10.0 == heartbeat.expected
    assert 3 <= heartbeat.beats


def test_the_end_has_a_last_reading_and_detaches(parts):
    """What was counted since the last interval is not left in the kernel."""
    clock, collection, _, heartbeat, sink, receiver = parts
    receiver.start(sink)
    clock.until_waiting()
    receiver.shutdown()

    assert [1, 2] == [int(kept.values[0]) for kept in sink.frames]
    assert collection.closed
    assert heartbeat.expected is None


def test_a_reading_that_fails_is_counted_and_the_next_goes_on(parts):
    """No heartbeat for it, so that /health can show it; and the recovery is reported."""
    clock, collection, telemetry, heartbeat, sink, receiver = parts
    collection.problems = [ProbeError("map: cannot read it")]
    receiver.start(sink)
    clock.until_waiting()
    beats = heartbeat.beats
    clock.advance(10.0)
    sink.until(1)

    assert 0 == beats
    assert [("receiving", "map: cannot read it")] == telemetry.errors
    assert ["receiving"] == telemetry.recoveries


def test_what_the_kernel_lost_is_published_by_reason(parts):
    """As of the last reading."""
    clock, _, telemetry, _, sink, receiver = parts
    receiver.start(sink)
    clock.until_waiting()

    assert {"requests": 1} == {reason: read() for reason, read in telemetry.losses.items()}


def test_readings_that_take_too_long_are_skipped_and_counted(parts):
    """The receiver keeps to its rhythm instead of running after it."""
    clock, collection, telemetry, _, sink, receiver = parts
    collection.takes = 25.0
    receiver.start(sink)
    clock.until_waiting()
    missed = telemetry.counters["ebpf_sidecar.receiver.missed_intervals"]()
    clock.advance(5.0)
    sink.until(2)

    assert 2 == missed
    assert 25.0 == telemetry.gauges["ebpf_sidecar.receiver.collection_duration"]()


def test_absent_metrics_are_logged_with_the_reason(parts, caplog):
    """A hook that this kernel does not have is a line in the log, once."""
    _, _, _, _, sink, receiver = parts
    with caplog.at_level("INFO"):
        receiver.start(sink)

    assert "attached 1 of 3 hooks of page_cache, block_io, syscalls; compiled in 0.40s" in caplog.messages
    absent = 'metric ebpf.cache.read_attempts is absent: no lookups (run "ebpf-sidecar doctor" for details)'
    assert absent in caplog.messages
    assert "hook syscalls::signal is not attached (no metric is absent for it): nor this" in caplog.messages
    assert not any("page_lookup" in message for message in caplog.messages)


def test_what_is_missing_without_the_readers_hooks_is_logged_once_each(parts, caplog):
    """Three hooks serve one purpose; the first that is not attached says why."""
    parts[1].own_hooks = [HookStatus("", name, "", "no such event") for name in ("cgroup_made", *NAMING)]
    with caplog.at_level("WARNING"):
        parts[-1].start(parts[4])

    reported = [message for message in caplog.messages if "(no such event)" in message]
    assert [
        "hook cgroup_made: not attached (no such event); containers that live for less than an interval stay unknown",
        "hook program_starts: not attached (no such event); names of executables stay truncated to 15 bytes",
    ] == reported


def test_a_cached_program_is_logged_as_such(parts, caplog):
    """It explains a start that took no time."""
    _, collection, *_, sink, receiver = parts
    collection.kept = True

    with caplog.at_level("INFO"):
        receiver.start(sink)

    assert any(message.endswith("syscalls; compiled at an earlier start") for message in caplog.messages)


def test_shutting_down_without_start_is_safe(parts):
    """As the contract says; twice as well."""
    parts[-1].clean_maps(MapCleanup())
    parts[-1].shutdown()
    parts[-1].shutdown()


def test_probes_may_be_a_list_or_a_mapping():
    """Names alone, or names with settings."""
    listed = EbpfSettings(probes=["page_cache", "syscalls"])
    mapped = EbpfSettings(probes={"page_cache": None, "syscalls": {"syscalls": ["read"]}})

    assert {"page_cache": {}, "syscalls": {}} == listed.probes
    assert {"page_cache": {}, "syscalls": {"syscalls": ["read"]}} == mapped.probes
    assert (GroupBy.CONTAINER, GroupBy.EXECUTABLE) == listed.group_by


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"probes": ["page_cach"]}, 'unknown probe "page_cach"; did you mean "page_cache"?'),
        ({"probes": ["syscalls", "syscalls"]}, 'probe "syscalls" is listed twice'),
        (
            {"probes": {"syscalls": {"syscals": ["read"]}}},
            'unknown setting "syscals" of probe "syscalls"; did you mean',
        ),
        ({"probes": {"syscalls": {"syscalls": ["raed"]}}}, 'unknown system call "raed"; did you mean "read"?'),
        ({"probes": []}, "at least 1"),
        ({"group_by": ["container", "cgroup"]}, "exclude each other"),
        ({"group_by": ["pid", "pid"]}, "listed twice"),
        ({"group_by": ["pod"]}, "container"),
        ({"collection_interval": "0s"}, '"0s" is below 10ms; write at least 10ms'),
        ({"collection_interval": "-1s"}, '"-1s" is below 10ms'),
        ({"max_map_memory": "16Mib"}, 'has the unknown unit "Mib"; did you mean "MiB"?'),
        ({"max_map_memory": "100KiB"}, '"102400" bytes are too few for these probes; give at least "'),
        (
            {"targets": {"cgroups": ["/app"]}, "max_map_memory": "100KiB"},
            '"102400" bytes are too few for these probes; give at least "',
        ),
        ({"max_overhead": "2"}, "at most 100%"),
        ({"max_overhead": "2%", "shed": []}, "at least 1"),
        ({"shed": ["syscals"]}, 'probe "syscals" is not among the probes; did you mean "syscalls"?'),
        ({"shed": ["syscalls"]}, "nothing is turned off without max_overhead; set max_overhead, or remove this list"),
        ({"targets": {"cgroups": ["app"]}}, "neither a cgroup's path or number nor a container's id"),
        ({"max_rows": 0}, "greater than or equal to 1"),
    ],
)
def test_wrong_settings_are_refused_with_the_repair(wrong, message):
    """Before anything is loaded."""
    with pytest.raises(ValidationError) as caught:
        EbpfSettings(**wrong)

    assert message in str(caught.value)


def test_a_budget_that_the_message_suggests_is_accepted():
    """Chosen cgroups take their part of it."""
    chosen = {"probes": ["block_io"], "targets": {"cgroups": ["/app"]}}
    with pytest.raises(ValidationError, match='"1024" bytes are too few') as caught:
        EbpfSettings(**chosen, max_map_memory="1KiB")
    [least] = re.findall(r'give at least "(\w+)"', str(caught.value))

    assert int(least.removesuffix("KiB")) * 1024 == EbpfSettings(**chosen, max_map_memory=least).max_map_memory


def test_the_default_budget_is_checked_as_any_other(monkeypatch):
    """Where there are so many processors that it is not enough."""
    monkeypatch.setattr(build_request, "this_machine", lambda: SizingMachine(1_000_000))

    with pytest.raises(ValidationError, match="are too few for these probes"):
        EbpfSettings()


@pytest.mark.parametrize(
    ("settings", "order"),
    [
        ({}, ("syscalls", "block_io", "page_cache")),
        ({"probes": ["memory", "block_waits", "page_faults"]}, ("page_faults", "block_waits", "memory")),
        ({"max_overhead": "2%", "shed": ["page_cache", "syscalls"]}, ("page_cache", "syscalls")),
    ],
)
def test_probes_are_turned_off_in_a_declared_order(settings, order):
    """Ours unless the user declares another; of those that are there."""
    assert order == EbpfSettings(**settings).shed_order


def test_probes_of_others_are_turned_off_before_ours():
    """They may declare another order; we cannot know what they are worth."""
    settings = EbpfSettings(probes=["page_cache", "syscalls"])
    settings = settings.model_copy(update={"probes": {"page_cache": {}, "forks": {}, "syscalls": {}}})

    assert ("forks", "syscalls", "page_cache") == settings.shed_order


def test_a_wrong_limit_is_one_mistake_and_not_two():
    """The order is not said to be without effect when the limit itself could not be read."""
    with pytest.raises(ValidationError) as caught:
        EbpfSettings(max_overhead="2", shed=["syscalls"])

    assert [("max_overhead",)] == [error["loc"] for error in caught.value.errors()]
    assert ("syscalls",) == EbpfSettings(max_overhead="2%", shed=["syscalls"]).shed
