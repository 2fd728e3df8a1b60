# SPDX-License-Identifier: Apache-2.0
"""The whole service as a process of its own, with a receiver that replays; shared by several test files."""

import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

COMMAND = [sys.executable, "-c", "import sys; from ebpf_sidecar.pipeline.cli.main import main; main()"]
SAMPLE = re.compile(
    r'^ebpf_sidecar_(\w+?)(?:_total)?\{.*?(?:exporter|processor|receiver)="([^"]+)".*\} (\S+)$', re.MULTILINE
)


def free_port():
    """A port on which nobody listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return server.getsockname()[1]


@dataclass
class Service:
    """A running service."""

    process: subprocess.Popen
    port: int
    log: object

    def page(self):
        """What `/metrics` shows now."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            return answer.read().decode()

    def counted(self):
        """The service's own counters of one page, by name and component."""
        found = {(name, component): float(value) for name, component, value in SAMPLE.findall(self.page())}
        unaccounted = {value for (name, _), value in found.items() if name == "exporter_unaccounted_metric_points"}
        assert unaccounted <= {0.0}, "the ledger closes whenever somebody looks"
        return found

    def until(self, condition, seconds=20):
        """Wait until the counters are as asked for; returns them."""
        end = time.monotonic() + seconds
        while not condition(found := self.counted()):
            assert time.monotonic() < end, (found, self.log.read_text())
            time.sleep(0.1)
        return found

    def stop(self):
        """SIGTERM; the exit code and the log."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20), self.log.read_text()


@contextmanager
def running_service(folder, config, port):
    """A service that has accepted something; ``port``: of its `/metrics`."""
    path, log = folder / "config.yaml", folder / "log"
    path.write_text(config)
    with log.open("wb") as output:
        process = subprocess.Popen([*COMMAND, "run", "--config", str(path)], stderr=output)
    started = Service(process, port, log)
    try:
        end = time.monotonic() + 60
        while True:
            with suppress(OSError):
                accepted = {name: number for (name, _), number in started.counted().items() if number}
                if "receiver_accepted_metric_points" in accepted:
                    break
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        yield started
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
