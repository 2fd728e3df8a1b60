# SPDX-License-Identifier: Apache-2.0
"""Prometheus servers that scrape us, and what they answer; shared by several test files."""

import json
import os
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from ebpf_sidecar.pipeline.endpoint import Address

DEBIAN = shutil.which("prometheus")
"""Debian's, as a rule 2.42: no created timestamps."""
MAKE = "`make peer-prometheus` builds it"


def current(environment=os.environ):
    """The newest Prometheus that was built for tests; None where there is none, or none for us."""
    home = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ebpf-sidecar" / "prometheus"
    home = Path(environment.get("EBPF_SIDECAR_PROMETHEUS") or home)
    if not os.access(home, os.R_OK | os.X_OK):
        return None
    built = sorted(home.glob("*/prometheus"), key=lambda path: [int(part) for part in path.parent.name.split(".")])
    return built[-1] if built else None


def needs(program):
    """Skips the test where the program is not installed."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed (package prometheus)")


@contextmanager
def prometheus(folder, target, *, program=DEBIAN, interval="1s", path="/metrics", options=(), more=()):
    """A Prometheus server that scrapes ``target`` at ``interval``; yields its own address. ``more``: of the job."""
    job = {"job_name": "sidecar", "metrics_path": path, "static_configs": [{"targets": [target]}], **dict(more)}
    config = {"global": {"scrape_interval": interval, "scrape_timeout": interval}, "scrape_configs": [job]}
    folder.mkdir(exist_ok=True)
    (folder / "prometheus.yml").write_text(json.dumps(config))
    with Address("127.0.0.1", 0).listen() as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
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
