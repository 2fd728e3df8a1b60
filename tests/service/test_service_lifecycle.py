# SPDX-License-Identifier: Apache-2.0
"""Starting, stopping and failing as a user sees it."""

import json
import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from bpf_programs import exists, programs_of
from waiting import until

LOADING = """
receivers: {ebpf: {}}
exporters: {debug: {}}
service: {pipelines: {metrics: {receivers: [ebpf], exporters: [debug]}}}
"""
REPLAY = """
receivers: {{replay: {{speed: 1000}}}}
exporters: {{{exporter}}}
service: {{pipelines: {{metrics: {{receivers: [replay], exporters: [{name}]}}}}, shutdown_timeout: {timeout}}}
"""

pytestmark = pytest.mark.parallel


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_exits_with_0_and_leaves_nothing_in_the_kernel(serve, number):
    """Whatever the signal, the service shuts down in order and logs it; programs live as long as the process."""
    service = serve()
    programs = programs_of(service.process.pid)
    alive = {program for program in programs if exists(program)}
    service.process.send_signal(number)

    assert 0 == service.process.wait(15)
    assert "stopped" in service.log.read_text()
    assert 10 < len(programs)
    assert programs == alive
    until(lambda: not any(map(exists, programs)), 5)  # the kernel frees them a little later, from a work queue
    assert not [program for program in programs if exists(program)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_processes_while_probes_are_loaded_is_no_failure(command, tmp_path, number):
    """Ctrl-C reaches the compiler's process as well; nothing reports that it died."""
    config, log = tmp_path / "config.yaml", tmp_path / "log"
    config.write_text(LOADING)
    with log.open("wb") as output:
        process = subprocess.Popen([*command, "run", "--config", config], stderr=output, start_new_session=True)
    deadline = time.monotonic() + 20
    while not any(map(is_loader, descendants_of(process.pid))) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(process.pid, number)

    assert 0 == process.wait(60), log.read_text()
    assert "died" not in log.read_text()
    assert "stopped" in log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_probes_are_loaded_does_not_wait_for_the_compiler(command, tmp_path, number):
    """The start is given up, the compiler with it, and nothing was loaded."""
    config, log = tmp_path / "config.yaml", tmp_path / "log"
    config.write_text(LOADING)
    with log.open("wb") as output:
        process = subprocess.Popen([*command, "run", "--config", config], stderr=output)
    assert until(lambda: any(map(is_loader, descendants_of(process.pid))))
    loaders = [pid for pid in descendants_of(process.pid) if is_loader(pid)]
    process.send_signal(number)

    assert 0 == process.wait(60), log.read_text()
    assert "stopped before the start was complete" in log.read_text()
    assert "ready" not in log.read_text()
    assert not any(map(is_loader, loaders))


def descendants_of(pid):
    """The process ids of its children, and of theirs: the broker's."""
    with suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [*children, *(each for child in children for each in descendants_of(child))]
    return []


def is_loader(pid):
    """Whether it is the process that compiles."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b".loader.child\0")
    return False


def with_descriptors(number, command, tmp_path, what):
    """How ``what`` ends where it may have so many descriptors."""
    config = tmp_path / "config.yaml"
    config.write_text(LOADING)
    limited = ["prlimit", f"--nofile={number}:{number}", *command, what, "--config", config]
    return subprocess.run(limited, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parallel
def test_too_few_descriptors_are_one_line(command, tmp_path):
    """With what to raise; no traceback of the loader, which has the same limit."""
    done = with_descriptors(28, command, tmp_path, "run")

    assert 1 == done.returncode
    assert "more than the 28 file descriptors that this process may open; raise the limit (ulimit -n" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parallel
def test_the_doctor_finds_too_few_descriptors_too(command, tmp_path):
    """Before the service does."""
    done = with_descriptors(56, command, tmp_path, "doctor")

    assert 1 == done.returncode
    assert "56 descriptors; these probes need up to" in done.stdout
    assert "Traceback" not in done.stderr


def test_the_status_pages_are_beside_the_metrics(serve):
    """/health, /ready and /api/v1/stats answer on the exporter's endpoint."""
    service = serve()
    stats = json.loads(service.get("/api/v1/stats"))

    assert {"status": "ok"} == json.loads(service.get("/health")) == json.loads(service.get("/ready"))
    assert ["container", "map_cleanup", "rate"] == sorted(stats["pipelines"][0]["processors"])
    assert any(metric["name"] == "ebpf_sidecar.receiver.accepted_metric_points" for metric in stats["metrics"])
    assert (True, ["prometheus"]) == (stats["ledger"]["closes"], [each["id"] for each in stats["ledger"]["exporters"]])
    assert {"missed_runs", "forgotten_rows"} <= stats["ledger"]["lost_in_the_kernel"]["ebpf"].keys()


def test_a_port_in_use_is_named_and_ends_the_start(command, tmp_path):
    """One line says which component wanted which port; the exit code is 1 and nothing is left running."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"127.0.0.1:{server.getsockname()[1]}"
        config = tmp_path / "config.yaml"
        exporter = f'prometheus: {{endpoint: "{endpoint}"}}'
        config.write_text(REPLAY.format(exporter=exporter, name="prometheus", timeout="5s"))
        done = subprocess.run(
            [*command, "run", "--config", config], capture_output=True, text=True, timeout=30, check=False
        )

    assert 1 == done.returncode
    assert f'cannot listen on "{endpoint}"' in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def stuck(command, tmp_path):
    """A service whose exporter writes to a pipe that nothing reads, and therefore cannot drain."""
    config = tmp_path / "config.yaml"
    config.write_text(REPLAY.format(exporter="debug: {verbosity: detailed}", name="debug", timeout="60s"))
    reading, writing = os.pipe()
    process = subprocess.Popen([*command, "run", "--config", config], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    while "ready" not in process.stderr.readline():
        pass
    time.sleep(1)  # until the pipe, 64 KiB, is full
    yield process
    process.kill()
    process.communicate()
    os.close(reading)


def test_a_second_signal_exits_at_once(stuck):
    """Users need not wait for the drain."""
    stuck.send_signal(signal.SIGTERM)
    while "stopping" not in stuck.stderr.readline():
        pass
    stuck.send_signal(signal.SIGTERM)

    assert 128 + signal.SIGTERM == stuck.wait(2)
