# SPDX-License-Identifier: Apache-2.0
import os
import sys
import threading
from dataclasses import dataclass, field

import numpy as np
import pytest

from ebpf_sidecar.pipeline import ComponentKind, ExportError, Factory, Interval, RowSet, Settings, SidecarError
from ebpf_sidecar.pipeline.component import ComponentId
from ebpf_sidecar.pipeline.config.load import Config, ConfiguredComponent, PipelineId, PipelineSettings, ServiceSettings
from ebpf_sidecar.pipeline.output import OutputError
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.recording.file import Recording
from ebpf_sidecar.pipeline.recording.record import RecordingExporter, record
from ebpf_sidecar.pipeline.telemetry import logs
from ebpf_sidecar.pipeline.testing import FakeClock, frame

RECEIVER, PROCESSOR, EXPORTER = ComponentKind.RECEIVER, ComponentKind.PROCESSOR, ComponentKind.EXPORTER
RESOURCE = {"service.name": "ebpf-sidecar", "os.type": "linux", "host.name": "secret", "service.instance.id": "secret"}


class Ticking(Settings):
    collection_interval: Interval = 2.0
    """How often."""


@dataclass
class Source:
    """A receiver that passes on a counter when it is started, and once more when it stops."""

    name: str
    batches: int = 1
    problem: BaseException | None = None
    ends: bool = False
    finished: object = None
    stopped: bool = False
    consumer: object = None

    def start(self, consumer):
        if self.problem:
            raise self.problem
        self.consumer = consumer
        for value in range(self.batches):
            consumer([frame(self.name, [value], resource=RESOURCE)])
        if self.ends:
            self.finished()

    def shutdown(self):
        self.stopped = True


@dataclass
class Untouched:
    """A processor or exporter of the configuration, which has nothing to do with a recording."""

    calls: list = field(default_factory=list)

    def start(self):
        self.calls.append("start")

    def process(self, frames):
        self.calls.append("process")
        return []

    def export(self, frames):
        self.calls.append("export")


def configured(kind, type_, part, settings=None):
    """A component that is made before the graph needs it."""

    def create(settings, context):
        part.finished = context.finished
        return part

    return ConfiguredComponent(Factory(kind, type_, create), settings or Settings())


@pytest.fixture
def quiet(monkeypatch):
    """Logging stays as pytest has set it up."""
    monkeypatch.setattr(logs, "configure", lambda *arguments, secrets: None)


@dataclass
class Scene:
    """A configuration of sources, and the recording of it on a clock of our own."""

    sources: list
    others: Untouched = field(default_factory=Untouched)
    clock: FakeClock = field(default_factory=FakeClock)
    said: list = field(default_factory=list)

    def config(self):
        ids = {ComponentId(RECEIVER, source.name): source for source in self.sources}
        unused = ComponentId(RECEIVER, "unused")
        processor, exporter = ComponentId(PROCESSOR, "p"), ComponentId(EXPORTER, "e")
        receivers = {id_: configured(RECEIVER, id_.type, source, Ticking()) for id_, source in ids.items()}
        receivers[unused] = configured(RECEIVER, "unused", Source("unused"), Ticking())
        return Config(
            receivers=receivers,
            processors={processor: configured(PROCESSOR, "p", self.others)},
            exporters={exporter: configured(EXPORTER, "e", self.others)},
            extensions={},
            service=ServiceSettings({PipelineId(""): PipelineSettings(tuple(ids), (processor,), (exporter,))}),
        )

    def record(self, output, seconds=30.0):
        record(self.config(), output, seconds, plugins=Plugins([]), progress=self.said.append, clock=self.clock)

    def run(self, output, steps=10):
        """Record for 30 s, in ten steps of three seconds."""
        problems = []

        def work():
            try:
                self.record(output)
            except SidecarError as problem:
                problems.append(problem)

        thread = threading.Thread(target=work)
        thread.start()
        for _ in range(steps):
            self.clock.until_waiting()
            self.clock.advance(3)
        thread.join(10)
        if problems:
            raise problems[0]


def names(path):
    """Every frame of a recording: its name and value."""
    reasons = []
    found = [(f.name, int(f.values[0])) for batch in Recording(path).batches(reasons.append) for f in batch.frames]

    assert [] == reasons
    return found


def test_receivers_are_recorded_raw_and_nothing_else_runs(tmp_path, quiet):
    """The frames of the pipelines' receivers are in the file as they were made; processors and exporters do nothing."""
    scene = Scene([Source("a", batches=2), Source("b")])
    scene.run(tmp_path / "x")

    assert [("a", 0), ("a", 1), ("b", 0)] == names(tmp_path / "x")
    assert [] == scene.others.calls
    assert all(source.stopped for source in scene.sources)


def test_rows_of_two_receivers_stay_apart(tmp_path):
    """A replay is one receiver: rows that shared their ids would be taken for each other."""
    exporter = RecordingExporter(tmp_path / "x", 1.0, FakeClock())
    same = [RowSet(np.array([0, 2**64 - 1], np.uint64)) for _ in "ab"]
    for value in (1, 2):
        for name, rows in zip("ab", same, strict=True):
            source = ComponentId(RECEIVER, "r", name)
            exporter.export([frame("c", [value, value], rows, source=source), frame("d", [1, 1], rows, source=source)])
    exporter.shutdown()
    ids = [tuple(f.rows.ids.tolist()) for batch in Recording(tmp_path / "x").batches(print) for f in batch.frames]

    assert [ids[0], ids[0], ids[2], ids[2]] * 2 == ids
    assert (0, 2**64 - 1) == ids[0]
    assert 4 == len({*ids[0], *ids[2]})


def test_a_recording_names_its_kernel_but_not_its_machine(tmp_path, quiet):
    """Kernel, architecture, time and interval are in the header; names of machines are nowhere."""
    Scene([Source("a")]).run(tmp_path / "x")
    recording = Recording(tmp_path / "x")
    [batch] = recording.batches(print)
    header = recording.header

    expected = {"service.name": "ebpf-sidecar", "os.type": "linux"}

    assert (expected, expected) == (header.resource, batch.frames[0].resource)
    assert (os.uname().release, os.uname().machine) == (header.kernel, header.machine)
    assert "2026-01-01T12:00" == header.recorded_at[:16]
    assert 2.0 == header.interval


def test_progress_is_reported_in_ten_steps(tmp_path, quiet):
    """How long it takes, how far it is, and what was made."""
    scene = Scene([Source("a")])
    scene.run(tmp_path / "x")

    assert "recording for 30s; Ctrl-C stops it early" == scene.said[0]
    assert [f"{3 * step}s of 30s" for step in range(1, 11)] == [text.partition(",")[0] for text in scene.said[1:11]]
    assert scene.said[11].startswith(f"recorded 1 batches into {tmp_path / 'x'} (")


def test_a_receiver_that_cannot_start_leaves_no_file(tmp_path, quiet):
    """The reason is reported, and the file's earlier content is unchanged."""
    (tmp_path / "x").write_text("precious")
    problem = SidecarError("not permitted; run as root")

    with pytest.raises(SidecarError, match="not permitted; run as root"):
        Scene([Source("a", problem=problem)]).record(tmp_path / "x")
    assert "precious" == (tmp_path / "x").read_text()


def test_silence_is_an_error(tmp_path, quiet):
    """Without data there is no file, but a reason."""
    with pytest.raises(SidecarError, match=r"nothing arrived within 30s; record for longer"):
        Scene([Source("a", batches=0)]).run(tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", ["", "missing/x"])
def test_a_place_that_cannot_be_written_is_refused_before_anything_starts(tmp_path, quiet, name):
    """A folder, or a file in a folder that does not exist, is named at once."""
    scene = Scene([Source("a")])

    with pytest.raises(SidecarError, match="cannot be written; choose a file in a folder"):
        scene.record(tmp_path / name)
    assert scene.sources[0].consumer is None


def test_a_full_disk_ends_the_recording(tmp_path, quiet):
    """Linux' full device stands for a full disk: the recording does not go on for nothing."""
    (tmp_path / "full").symlink_to("/dev/full")

    with pytest.raises(SidecarError, match="No space left on device"):
        Scene([Source("a")]).run(tmp_path / "full", steps=0)


@pytest.mark.parametrize("batches", [0, 1])
def test_a_reader_of_standard_output_that_leaves_is_the_end_of_the_recording(monkeypatch, batches):
    """Early, or when only the end is missing: a problem without a traceback, of the kind that is not explained."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as written:
        monkeypatch.setattr(sys, "stdout", written)
        exporter = RecordingExporter(None, 1.0, FakeClock())
        for value in range(batches):
            exporter.export([frame("a", [value])])
        os.close(reader)
        if not batches:
            with pytest.raises(ExportError, match="Broken pipe"):
                exporter.export([frame("a", [1])])
        exporter.shutdown()

    assert isinstance(exporter.problem, OutputError)
    assert exporter.problem.closed


class Interrupting(FakeClock):
    """A clock on which somebody presses Ctrl-C as soon as the exporter has written something."""

    def wait(self, stopped, seconds):
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        return super().wait(stopped, seconds)


def test_an_interrupt_keeps_what_was_recorded(tmp_path, quiet):
    """Ctrl-C ends the recording early, with a complete file."""
    scene = Scene([Source("a", batches=3)], clock=Interrupting())
    scene.record(tmp_path / "x")

    assert [("a", 0), ("a", 1), ("a", 2)] == names(tmp_path / "x")
    assert "interrupted: the recording so far is kept" in scene.said


def test_the_end_of_all_data_ends_the_recording(tmp_path, quiet):
    """A receiver without more data is not waited for."""
    scene = Scene([Source("a", ends=True), Source("b", ends=True)])
    scene.run(tmp_path / "x", steps=0)

    assert {("a", 0), ("b", 0)} == set(names(tmp_path / "x"))


def test_frames_that_cannot_be_written_are_the_end_of_the_recording(tmp_path):
    """An exporter that gets objects instead of numbers reports it and does not request a retry."""
    exporter = RecordingExporter(tmp_path / "x", 1.0, FakeClock())
    exporter.export([])
    exporter.export([frame("a", [1])])
    with pytest.raises(ExportError, match="not a number type"):
        exporter.export([frame("a", [1]).with_values(frame("a", [1]).values.astype(object))])
    exporter.shutdown()

    assert [("a", 1)] == names(tmp_path / "x")
