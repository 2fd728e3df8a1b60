# SPDX-License-Identifier: Apache-2.0
"""The whole service as a separate process on the running kernel, read as its users do: from /metrics."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest
from kernel_access import why_no_ebpf
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from ebpf_sidecar.receivers.ebpf.probe.file import read_probe

BPF = Path(__file__).parents[2] / "bpf"
WORKLOADS = Path(__file__).parents[1] / "kernel" / "workloads"
READY_SECONDS = 90  # others may keep the machine busy
CONFIG = """
receivers:
  ebpf: {{collection_interval: {interval}, probes: {probes}, group_by: {group_by}{more}}}
processors:
  map_cleanup: {{cleanup_strategy: {cleanup}, cleanup_interval: {cleanup_interval}}}
  container: {{}}
  rate: {{}}
exporters:
  prometheus: {{endpoint: "127.0.0.1:{port}", histogram_bounds: {bounds}, start_at_zero: false, fold_beyond: null}}
{exporters}
service:
  pipelines:
    metrics: {{receivers: [ebpf], processors: [map_cleanup, container, rate], exporters: [prometheus{names}]}}
"""


def pytest_collection_modifyitems(items):
    """All tests of this folder need the kernel."""
    reason = why_no_ebpf()
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.kernel)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


def reasons_of(probe):
    """What a probe can lose events for: its maps and whatever else its description names."""
    described = read_probe(BPF / f"{probe}.yaml")
    return {*(spec.published for spec in described.maps), *described.drops}


@dataclass(frozen=True)
class Page:
    """One scrape: every sample by name and labels."""

    samples: dict

    def rows(self, name, **labels):
        """Labels → value of the samples of that name that have ``labels`` (``comm``: the executable's name)."""
        if "comm" in labels:
            labels["process_executable_name"] = labels.pop("comm")
        wanted = set(labels.items())
        return {key[1:]: value for key, value in self.samples.items() if key[0] == name and wanted <= set(key[1:])}

    def lost(self, *probes):
        """Events that these probes could not count, by reason; empty when there were none."""
        rows = self.rows("ebpf_dropped_events_total")
        reasons = {reason for probe in probes for reason in reasons_of(probe)}
        by_reason = {dict(labels)["reason"]: value for labels, value in rows.items()}
        return {reason: value for reason, value in by_reason.items() if value and reason in reasons}

    def sum(self, name, **labels):
        """Those samples added up."""
        return sum(self.rows(name, **labels).values())


def sent(text):
    """The lines of a page with the number of points sent."""
    return [line for line in text.splitlines() if line.startswith("ebpf_sidecar_exporter_sent_metric_points_total{")]


@dataclass
class Service:
    """A running service. ``page`` scrapes it."""

    process: subprocess.Popen
    port: int
    interval: float
    log: Path
    pages: list = field(default_factory=list)

    def get(self, path, accept="application/openmetrics-text; version=1.0.0"):
        """The body of an answer."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read().decode()

    def page(self):
        """A scrape, read by prometheus_client's strict OpenMetrics parser."""
        return self._read(self.get("/metrics"))

    def _read(self, text):
        families = text_string_to_metric_families(text)
        page = Page({(s.name, *sorted(s.labels.items())): s.value for f in families for s in f.samples})
        self.pages.append(page)
        return page

    def settled(self):
        """A scrape that shows everything that was done before now: two more readings have begun and passed on.

        The page of each of them is kept in ``pages``; strictly reading those between would cost more than the service.
        """
        seen, changes, deadline = sent(self.get("/metrics")), 0, time.monotonic() + 30
        while changes < 2 and time.monotonic() < deadline:
            time.sleep(self.interval / 5)
            text = self.get("/metrics")
            if sent(text) != seen:
                page, changes, seen = self._read(text), changes + 1, sent(text)

        assert changes == 2, self.log.read_text()
        return page

    def stop(self):
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


def free_port():
    """A free port on the loopback interface."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture(scope="session")
def command():
    """The command line of the product."""
    return [sys.executable, "-c", "import sys; from ebpf_sidecar.pipeline.cli.main import main; main()"]


@pytest.fixture
def serve(command, tmp_path):
    """Start the service and wait until it is ready; stopped, and its exit code checked, when the test ends."""
    with serving(command, tmp_path) as serve:
        yield serve


@pytest.fixture(scope="module")
def serve_once(command, tmp_path_factory):
    """The same for tests that only read: with the same settings, the same service until the file's last test ends."""
    with serving(command, tmp_path_factory.mktemp("service")) as serve:
        yield cache(serve)


@contextmanager
def serving(command, folder):
    """Starts services, and stops all of them at the end."""
    started = []

    def serve(interval=0.2, probes="[page_cache, block_io, syscalls]", cleanup="keep_recent", cleanup_interval="30s",
              group_by="[container, executable]", *, before=(), bounds="default", pages=(), **settings):  # fmt: skip
        port = free_port()
        config, log = folder / f"config{port}.yaml", folder / f"log{port}"
        more = "".join(f", {name}: {value}" for name, value in settings.items())
        exporters = "\n".join(f'  prometheus/{name}: {{endpoint: "127.0.0.1:{port}", path: /{name}, {_all_rows(also)}}}'
                              for name, also in pages)  # fmt: skip
        names = "".join(f", prometheus/{name}" for name, _ in pages)
        config.write_text(CONFIG.format(interval=f"{int(interval * 1000)}ms", probes=probes, cleanup=cleanup, port=port,
                                        cleanup_interval=cleanup_interval, group_by=group_by, bounds=bounds,
                                        more=more, exporters=exporters, names=names))  # fmt: skip
        with log.open("wb") as output:
            process = subprocess.Popen([*before, *command, "run", "--config", str(config)], stderr=output)
        service = Service(process, port, interval, log)
        started.append(service)
        _until_ready(service)
        return service

    yield serve
    for service in started:
        if service.process.poll() is None:
            assert 0 == service.stop(), service.log.read_text()


def _all_rows(settings):
    """A page's settings; no row is folded unless they say so, or a test's own process would be one of many."""
    return settings if "fold_beyond" in settings else f"{settings}, fold_beyond: null"


def _until_ready(service):
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and service.process.poll() is None:
        try:
            service.get("/ready")
        except OSError:
            time.sleep(0.02)
        else:
            return
    pytest.fail(f"not ready within {READY_SECONDS} s: {service.log.read_text()}")


@pytest.fixture
def work(tmp_path):
    """Run a workload under a unique name (at most 15 bytes), in a cgroup on request; what it printed as JSON."""

    def work(name, script, *arguments, cgroup=None):
        # files.py takes the name for itself once the interpreter has started, whose own reads are then another's
        python = tmp_path / ("launcher" if script == "files.py" else name)
        if not python.exists():
            python.symlink_to(Path(sys.executable).resolve())
        join = ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(cgroup)] if cgroup else []
        command = [*join, str(python), "-S", "-E", str(WORKLOADS / script), *map(str, arguments)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=300,
                              env={**os.environ, "WORKLOAD": name})  # fmt: skip
        return json.loads(done.stdout)

    return work


@pytest.fixture
def fio(tmp_path):
    """Run fio; its JSON for the first job's reads or writes."""
    if shutil.which("fio") is None:
        pytest.skip("fio is not installed")

    def fio(kind, block, count, *more):
        options = {"name": "test", "filename": tmp_path / "fio.data", "rw": kind, "bs": block, "size": block * count,
                   "direct": 1, "ioengine": "psync", "output-format": "json", "fallocate": "none"}  # fmt: skip
        arguments = [f"--{name}={value}" for name, value in options.items()]
        done = subprocess.run(["fio", *arguments, *more], stdout=subprocess.PIPE, check=True, timeout=120, text=True)
        return json.loads(done.stdout)["jobs"][0]["read" if re.search("read", kind) else "write"]

    return fio
