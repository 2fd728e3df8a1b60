# SPDX-License-Identifier: Apache-2.0
"""A log without a reader blocks no thread, and reports missing lines afterwards."""

import fcntl
import io
import logging
import os
import resource
import threading
from pathlib import Path

import pytest

from ebpf_sidecar.pipeline.component import ComponentId, ComponentKind
from ebpf_sidecar.pipeline.push_settings import PushSettings
from ebpf_sidecar.pipeline.running.nodes import ExporterCounters
from ebpf_sidecar.pipeline.sending.sending_queue import SendingQueue
from ebpf_sidecar.pipeline.telemetry.component import ComponentTelemetry
from ebpf_sidecar.pipeline.telemetry.ledger import Ledger
from ebpf_sidecar.pipeline.telemetry.logs import BoundedHandler
from ebpf_sidecar.pipeline.testing import FakeClock, FakeSender, frame


class Log:
    """A logger into a pipe of one page, which the test reads when it wants to."""

    def __init__(self):
        self.reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(self.reader, False)
        self.stream = os.fdopen(writer, "w")
        self.logger = logging.Logger("test")
        self.logger.addHandler(BoundedHandler(self.stream, patience=0.01))

    def read(self):
        """All lines that are in it."""
        return os.read(self.reader, 1 << 20).decode().splitlines()


@pytest.fixture
def log():
    """A pipe that is closed afterwards."""
    log = Log()
    yield log
    log.stream.close()
    os.close(log.reader)


def test_lines_come_out_one_by_one(log):
    """At once, whatever characters are in them."""
    log.logger.warning("a \udcff é")
    [first] = log.read()
    log.logger.warning("b")

    assert ("a \\udcff é", ["b"]) == (first, log.read())


def test_an_unread_log_blocks_no_thread_and_reports_what_is_missing(log):
    """Logging continues; once there is room again, the number of missing lines is in their place."""
    for number in range(3000):
        log.logger.warning("line %d", number)
    seen = log.read()
    log.logger.warning("after")
    missing, last = log.read()

    assert [f"line {number}" for number in range(len(seen))] == seen
    assert f"log: lines missing here, because the reader was too slow: {3000 - len(seen)}" == missing
    assert "after" == last


def test_a_line_that_was_cut_off_does_not_run_into_the_next(log):
    """A traceback longer than the pipe: its beginning, the number of missing lines, the next line."""
    log.logger.warning("x" * 5000)
    beginning = log.read()
    log.logger.warning("after")

    assert ["x" * 4096] == beginning
    assert ["", "log: lines missing here, because the reader was too slow: 1", "after"] == log.read()


def test_what_a_full_disk_takes_in_part_is_cut_off_and_counted(tmp_path):
    """As with a pipe: the next line that has room starts on a line of its own."""
    path, limits = tmp_path / "log", resource.getrlimit(resource.RLIMIT_FSIZE)
    with path.open("w") as stream:
        logger = logging.Logger("test")
        logger.addHandler(BoundedHandler(stream))
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
            logger.warning("x" * 50)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        logger.warning("after")

    assert [
        "x" * 10,
        "log: lines missing here, because the reader was too slow: 1",
        "after",
    ] == path.read_text().splitlines()


def test_a_reader_that_is_gone_is_no_error(log):
    """The service continues."""
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), log.reader)
    log.logger.warning("nobody hears it")


def test_a_stream_in_memory_is_written_as_it_is():
    """Nothing there can block."""
    stream = io.StringIO()
    logger = logging.Logger("test")
    logger.addHandler(BoundedHandler(stream))
    logger.warning("a")

    assert "a\n" == stream.getvalue()


def test_a_receiver_does_not_wait_for_an_unread_log(log):
    """It offers to a full queue, whose first loss is logged, while standard error is blocked."""
    while log.logger.handlers[0]._lost == 0:
        log.logger.warning("fills the pipe")
    ledger = Ledger()
    telemetry = ComponentTelemetry(ComponentId(ComponentKind.EXPORTER, "e"), ledger, log.logger)
    settings, accounting = PushSettings(sending_queue={"queue_size": 1}), ExporterCounters(ledger, ())
    queue = SendingQueue("e", FakeSender(), settings, accounting, telemetry, FakeClock())
    receiver = threading.Thread(target=lambda: [queue.consume([frame("m", [1])]) for _ in range(3)])
    receiver.start()
    receiver.join(5)

    assert not receiver.is_alive()
    assert 2 == sum(value for name, _, value in ledger.snapshot() if name == "ebpf_sidecar.dropped_metric_points")
