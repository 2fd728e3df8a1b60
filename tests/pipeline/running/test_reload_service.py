# SPDX-License-Identifier: Apache-2.0
"""The whole service in a process of its own, reloaded as its users do: SIGHUP, POST, a file that has changed."""

import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
from otlp_servers import http_server
from waiting import until

COMMAND = [sys.executable, "-c", "from ebpf_sidecar.pipeline.cli.main import main; main()"]
CONFIG = """
receivers: {{replay: {{collection_interval: 400ms}}}}
processors: {{container: {{}}, rate: {{}}}}
exporters:
  prometheus: {{endpoint: "127.0.0.1:{port}", start_at_zero: false}}
  debug: {{verbosity: basic}}
  otlphttp: {{endpoint: "http://127.0.0.1:{otlp}"}}
service:
  reload: {{endpoint: "127.0.0.1:{port}", watch: {watch}, watch_interval: 100ms}}
  pipelines: {{metrics: {{receivers: [replay], processors: [{processors}], exporters: [{exporters}]}}}}
"""
INTERVAL = 0.4
SENT = 'ebpf_sidecar_exporter_sent_metric_points_total{exporter="otlphttp"}'
WHOLE = {"processors": "container, rate", "exporters": "prometheus, debug", "watch": "false", "otlp": 9}


@dataclass
class Running:
    """A service, its configuration, and its log."""

    process: subprocess.Popen
    file: Path
    log: Path
    port: int

    def write(self, **written):
        """Another configuration, as an editor would replace it."""
        new = self.file.with_suffix(".new")
        new.write_text(CONFIG.format(port=self.port, **{**WHOLE, **written}))
        new.rename(self.file)

    def get(self, path, method="GET"):
        """Status and text of an answer."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as answer:
            return answer.code, answer.read().decode()

    def reload(self):
        """POST."""
        return self.get("/-/reload", "POST")

    def samples(self):
        """The page's series and their values."""
        lines = (line.rsplit(" ", 1) for line in self.get("/metrics")[1].splitlines() if line[0] != "#")
        return {name: float(value) for name, value in lines}

    def threads(self):
        """How many there are."""
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    def descriptors(self):
        """What is open, except for connections, which come and go."""
        opened = []
        for each in Path(f"/proc/{self.process.pid}/fd").iterdir():
            try:
                opened.append(each.readlink())
            except OSError:
                continue
        return len(opened)

    def memory(self):
        """Its own memory in kB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+)", status)[1])


@contextmanager
def started(folder, port, **written):
    """A service that is ready."""
    file, log = folder / "config.yaml", folder / "log"
    with log.open("wb") as errors, log.with_name("output").open("wb") as output:
        running = Running(None, file, log, port)
        running.write(**written)
        running.process = subprocess.Popen([*COMMAND, "run", "-c", file], stdout=output, stderr=errors)
    try:
        assert until(lambda: "ready" in log.read_text() or running.process.poll() is not None)
        assert until(lambda: "ebpf_cache" in running.get("/metrics")[1], 20)
        yield running
        running.process.terminate()
        assert 0 == running.process.wait(20), log.read_text()
    finally:
        running.process.kill()
        running.process.wait()


@pytest.fixture
def port():
    """A free port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_a_post_reloads_or_says_what_is_wrong(tmp_path, port):
    """On the page's own server; a GET does nothing."""
    with started(tmp_path, port) as service:
        same = service.reload()
        service.write(processors="container")
        less = service.reload()
        service.write(processors="container, rates")
        wrong, get = service.reload(), service.get("/-/reload")
        left = service.get("/api/v1/stats")[1]

    assert 200 == same[0] == less[0]
    assert "reloaded; kept: exporter debug, exporter prometheus, processor container (metrics), " in same[1]
    assert "removed: processor rate (metrics)" in less[1]
    assert 400 == wrong[0]
    assert 'service::pipelines::metrics: processor "rates" is not configured; did you mean "rate"?' in wrong[1]
    assert (405, "use POST\n") == get
    assert '"rate"' not in left.split('"metrics"')[0]


def test_a_hang_up_reloads(tmp_path, port):
    """And the log says what has changed."""
    with started(tmp_path, port) as service:
        service.write(processors="container")
        service.process.send_signal(signal.SIGHUP)
        assert until(lambda: "removed: processor rate (metrics)" in service.log.read_text(), 10)


def test_a_file_that_has_changed_is_read(tmp_path, port):
    """One that is wrong is refused, and read again when it has changed again."""
    with started(tmp_path, port, watch="true") as service:
        service.write(watch="true", processors="container, wrong")
        assert until(lambda: "not reloaded; the previous configuration runs on" in service.log.read_text(), 10)
        service.write(watch="true", processors="container")
        assert until(lambda: "removed: processor rate (metrics)" in service.log.read_text(), 10)
        service.write(watch="false", processors="container")
        assert until(lambda: service.log.read_text().count("reloaded; kept") == 2, 10)
        service.write(watch="false", processors="")
        time.sleep(0.5)

        assert 3 == service.log.read_text().count("its files have changed: reading the configuration again")


def test_a_port_that_is_taken_leaves_the_page_where_it_was(tmp_path, port):
    """The exporter that should move cannot; the one that was there goes on."""
    with started(tmp_path, port) as service, socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        service.file.write_text(
            service.file.read_text().replace(
                f'endpoint: "127.0.0.1:{port}", start', f'endpoint: "127.0.0.1:{taken}", start'
            )
        )
        refused = service.reload()
        failed = until(lambda: service.samples()["ebpf_sidecar_config_last_reload_successful"] == 0.0, 5)

    assert 500 == refused[0]
    assert f'prometheus: cannot listen on "127.0.0.1:{taken}": address already in use' in refused[1]
    assert failed


WAYS = [{"exporters": "prometheus, debug, otlphttp"}, {"processors": "container"}, {}]


def test_a_hundred_reloads_under_load(tmp_path, port, full_length):
    """While it is scraped and sends: no counter falls, no reading is missing, and nothing grows.

    A sender comes and goes, and a processor with it; the receiver, the page and their counts live on.
    """
    scrapes, sizes, stop = [], [], threading.Event()
    rounds = 102 if full_length else 24  # at the end, the sender is gone

    def scrape(service):
        while not stop.wait(0.02):
            scrapes.append(service.samples())

    with http_server() as server, started(tmp_path, port) as service:
        thread = threading.Thread(target=scrape, args=(service,))
        thread.start()
        for number in range(rounds):
            service.write(**WAYS[number % 3], otlp=server.port)
            status, text = service.reload()
            assert (200, True) == (status, "receiver replay" in text.split(";")[1]), text
            time.sleep(0.15)
            sizes += [(service.threads(), service.descriptors(), service.memory())] if number % 3 == 2 else []
        stop.set()
        thread.join()
        delivered = sum(map(points, server.requests))
        counted = until(lambda: service.samples()[SENT] == delivered, 5)
        log, printed = service.log.read_text(), service.log.with_name("output").read_text()
    [early, late] = [list(zip(*part, strict=True)) for part in (sizes[2:5], sizes[-3:])]

    assert rounds == log.count("info  reloaded; ")
    assert delivered
    assert counted
    assert "dropped" not in log
    assert ([], []) == (falls(scrapes), ends(scrapes))
    assert max(gaps(printed)) < 2 * INTERVAL
    assert [True, True, True] == [min(late[n]) <= max(early[n]) + more for n, more in enumerate((0, 0, 2048))], sizes


def points(request):
    """How many there are in what was sent."""
    metrics = [each for r in request.resource_metrics for scope in r.scope_metrics for each in scope.metrics]
    return sum(len(getattr(each, each.WhichOneof("data")).data_points) for each in metrics)


def counters(samples):
    """What must not fall: counters, and what histograms consist of."""
    return {each for each in samples if each.split("{")[0].endswith(("_total", "_count", "_sum", "_bucket"))}


def falls(scrapes):
    """Counters that are less than in the scrape before."""
    return [
        (name, before[name], now[name])
        for before, now in pairwise(scrapes)
        for name in counters(before) & counters(now)
        if now[name] < before[name]
    ]


def ends(scrapes):
    """Counters that are absent although they were in the scrape before."""
    return [
        sorted(counters(before) - counters(now))
        for before, now in pairwise(scrapes)
        if counters(before) - counters(now)
    ]


def gaps(printed):
    """Seconds between the readings that ``debug`` printed."""
    moments = [datetime.fromisoformat(line.split(" ")[0]).timestamp() for line in printed.splitlines()]
    return [now - before for before, now in pairwise(moments)]
