# SPDX-License-Identifier: Apache-2.0
"""The whole service while its back end is away and its queue could grow without end: it stays within its memory."""

import re
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from memory_tree import MIB
from otlp_requests import request_of
from recordings import write
from running_service import free_port, running_service

from ebpf_sidecar.pipeline.testing import NOON, frame
from ebpf_sidecar.processors.service_memory import resident

CONFIG = """
receivers:
  replay/big: {{path: {recording}, collection_interval: 20ms}}
  replay/small: {{collection_interval: 100ms}}
  replay/page: {{collection_interval: 200ms}}
processors:
  memory_limiter: {{check_interval: 100ms, limit_mib: 150, spike_limit_mib: 40, shed: [exporters/otlphttp/away]}}
exporters:
  prometheus: {{endpoint: "127.0.0.1:{port}"}}
  otlphttp/away: {{endpoint: "http://127.0.0.1:{nobody}", sending_queue: {{queue_size: 8GiB}},
    retry_on_failure: {{max_elapsed_time: 0s}}}}
service:
  shutdown_timeout: 1s
  pipelines:
    metrics: {{receivers: [{limited}], processors: [memory_limiter], exporters: [otlphttp/away]}}
    metrics/free: {{receivers: [{free}], exporters: [otlphttp/away]}}
    metrics/page: {{receivers: [replay/page], exporters: [prometheus]}}
"""
BETWEEN_CHECKS = 30 * MIB
"""What a busy machine may add to memory before the next batch is looked at, and what a page or a payload takes."""


def big_recording(folder):
    """Batches of half a MiB."""
    bounds = [float(bound) for bound in range(30)]
    batches = [
        [frame("big", [[tick + 1] * 31] * 2000, bounds=bounds, time_unix_nano=NOON + tick * 10**9)] for tick in range(3)
    ]
    return write(folder / "big.recording", *batches)


def is_closed(found, limited, free):
    """Whether every point is refused, queued or dropped, at a moment between two batches."""

    def points(name, component):
        return found.get((f"{name}_metric_points", component), 0)

    accepted = points("receiver_accepted", limited)
    queued, dropped = (points(f"exporter_{name}", "otlphttp/away") for name in ("queued", "enqueue_failed"))
    return (
        points("processor_incoming", "memory_limiter") == accepted  # what it refuses has not come in
        and points("processor_outgoing", "memory_limiter") == accepted
        and accepted + points("receiver_accepted", free) == queued + dropped
    )


def watched(service, seconds):
    """The most memory of that time; every page comes."""
    most, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        most = max(most, resident(Path("/proc"), str(service.process.pid)))
        service.page()
        time.sleep(0.05)
    return most


@pytest.mark.parametrize(
    ("limited", "free", "counted"),
    [
        ("replay/big", "replay/small", ("receiver_refused_metric_points", "replay/big")),
        ("replay/small", "replay/big", ("exporter_enqueue_failed_metric_points", "otlphttp/away")),
    ],
    ids=["it refuses", "it gives up the queue"],
)
def test_memory_stays_within_the_limit_and_every_point_is_accounted_for(tmp_path, limited, free, counted):
    """Whether the limiter sees what makes memory grow and refuses it, or only the memory: pages go on being served."""
    port = free_port()
    config = CONFIG.format(port=port, nobody=free_port(), recording=big_recording(tmp_path), limited=limited, free=free)
    with running_service(tmp_path, config, port) as service:
        before = service.until(lambda found: found.get(counted), seconds=60)
        most = watched(service, 3)
        page = ("receiver_accepted_metric_points", "replay/page")
        service.until(lambda found: found[page] > before[page])
        after = service.until(lambda found: is_closed(found, limited, free))
        reasons = set(re.findall(r'_dropped_\w+{component="exporter otlphttp/away".*reason="(\w+)"', service.page()))
        _, log = service.stop()

    gives_up = limited == "replay/small"
    assert most < 150 * MIB + (BETWEEN_CHECKS if gives_up else 0)
    assert after[counted] > 0
    assert ({"memory_limit"} if gives_up else set()) == reasons
    assert "Traceback" not in log


PUSHED = """
receivers:
  otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{pushed}"}}}}}}
  replay: {{collection_interval: 200ms}}
processors:
  memory_limiter: {{check_interval: 7s, limit_mib: 2}}
exporters:
  prometheus: {{endpoint: "127.0.0.1:{port}"}}
service:
  pipelines:
    metrics: {{receivers: [otlp], processors: [memory_limiter], exporters: [prometheus]}}
    metrics/page: {{receivers: [replay], exporters: [prometheus]}}
"""


def test_a_client_that_pushes_is_told_when_to_try_again(tmp_path):
    """With the status that OTLP has for it, and what was refused is counted."""
    port, pushed = free_port(), free_port()
    request = urllib.request.Request(
        f"http://127.0.0.1:{pushed}/v1/metrics",
        request_of(frame("work.done", [1, 2, 3])).SerializeToString(),
        {"Content-Type": "application/x-protobuf"},
    )
    with running_service(tmp_path, PUSHED.format(port=port, pushed=pushed), port) as service:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        found = service.until(lambda found: found["receiver_refused_metric_points", "otlp"])
        _, log = service.stop()

    assert (503, "7") == (refused.value.code, refused.value.headers["Retry-After"])
    assert b"memory limit reached" in refused.value.read()
    assert 3 == found["receiver_refused_metric_points", "otlp"]
    assert "the soft limit is 1 of 2 MiB: batches are refused" in log
