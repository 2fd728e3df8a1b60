# SPDX-License-Identifier: Apache-2.0
"""Prometheus servers that scrape us or are sent OTLP, and what they answer; shared by several test files."""

import json
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager

import pytest
from peers import cached, free_addresses, needs_peer

DEBIAN = shutil.which("prometheus")
"""Debian's, as a rule 2.42: no created timestamps."""
RECEIVES_OTLP = ("--web.enable-otlp-receiver",)
needs_current = needs_peer("prometheus3")
"""Skips the test where `make peers` has not built a current Prometheus."""


def current():
    """The current Prometheus that was built for tests; None where there is none."""
    folder = cached("prometheus3")
    return folder and folder / "prometheus"


def needs(program):
    """Skips the test where the program is not installed."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed (package prometheus)")


@contextmanager
def prometheus(folder, target, *, program=DEBIAN, interval="1s", path="/metrics", options=(), more=()):
    """A Prometheus server that scrapes ``target`` at ``interval``; yields its own address. ``more``: of the job."""
    job = {"job_name": "sidecar", "metrics_path": path, "static_configs": [{"targets": [target]}], **dict(more)}
    config = {"global": {"scrape_interval": interval, "scrape_timeout": interval}, "scrape_configs": [job]}
    with _started(folder, program, config, options) as address:
        yield address


@contextmanager
def otlp_prometheus(folder, *, options=(), more=()):
    """A current Prometheus that is sent OTLP and scrapes nobody; yields its own address.

    ``more``: of its ``otlp`` section, such as ``{"promote_all_resource_attributes": True}``.
    """
    with _started(folder, current(), {"otlp": dict(more)}, [*RECEIVES_OTLP, *options]) as address:
        first_answer(address, "vector(1)", bool)
        yield address


def otlp_url(address):
    """Where such a Prometheus is sent metrics."""
    return f"http://{address}/api/v1/otlp/v1/metrics"


@contextmanager
def _started(folder, program, config, options):
    folder.mkdir(exist_ok=True)
    (folder / "prometheus.yml").write_text(json.dumps(config))
    [address] = free_addresses(1)
    arguments = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", *options]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, *arguments, f"--web.listen-address={address}"], stdout=log, stderr=log)
    try:
        yield address
    finally:
        process.terminate()
        process.wait(20)


def query(address, expression):
    """The result of an instant query; empty while Prometheus is starting."""
    url = f"http://{address}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)["data"]["result"]
    except OSError:
        return []


def first_answer(address, expression, accept, seconds=30):
    """The result of a query as soon as it is accepted, or the last one when time is up."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not accept(result := query(address, expression)) and time.monotonic() < deadline:
        pause.wait(0.2)  # a real server in real time: there is no notification to wait for
    return result


def number(result):
    """The only value of an answer, 0 where there is none."""
    return float(result[0]["value"][1]) if result else 0.0
