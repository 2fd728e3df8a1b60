# SPDX-License-Identifier: Apache-2.0
"""The service as the benches see it: a separate process, and its page."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

DEFAULT = Path(__file__).parents[2] / "configs" / "default.yaml"
MAIN = "from ebpf_sidecar.pipeline.cli.main import main; main()"
START_SECONDS = 60


def environment() -> dict[str, str]:
    """As where it is installed: compiled modules are kept, otherwise each start would compile and measure that."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@dataclass
class Sidecar:
    """A service that runs until the end of the block: ``with Sidecar("10s") as service``.

    It has the packaged configuration, except for its port, the probes, if given, and ``settings``.
    """

    interval: str
    probes: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    """By their place in the file, as ``--set`` has it."""
    constants: Mapping[str, float] = field(default_factory=dict)
    """Constants to change, by ``module.NAME`` below the package: for example those that take hours."""
    files: Sequence[Path] = ()
    """Configurations that are merged into the packaged one."""
    port: int = 0
    started: float = 0.0
    process: subprocess.Popen[bytes] = field(init=False)
    log: IO[bytes] = field(default_factory=tempfile.TemporaryFile)

    def __enter__(self) -> Sidecar:
        self.port = free_port()
        settings = {
            "exporters.prometheus.endpoint": f"127.0.0.1:{self.port}",
            "receivers.ebpf.collection_interval": self.interval,
            **self.settings,
        }
        if self.probes:
            settings["receivers.ebpf.probes"] = f"[{', '.join(self.probes)}]"
        options = [f"--set={name}={value}" for name, value in settings.items()]
        self.started = time.monotonic()
        self.process = subprocess.Popen([*self._command(), *options], stderr=self.log, env=environment())
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self.log.close()

    def _command(self) -> list[str]:
        changes = [_change(*name.rsplit(".", 1), value) for name, value in self.constants.items()]
        files = [f"--config={file}" for file in (DEFAULT, *self.files)] if self.files else []
        return [sys.executable, "-c", "\n".join([*changes, MAIN]), "run", *files]

    def broker(self) -> int:
        """The process that keeps the service's rights; the only child that stays."""
        own = self.process.pid
        return int(Path(f"/proc/{own}/task/{own}/children").read_text().split()[0])

    def scrape(self) -> str:
        """The page. Raises `OSError` where it does not come in a minute; virtual machines may stand still for long."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=60) as answer:
            return answer.read().decode()

    def first_page(self) -> tuple[float, str]:
        """Seconds from the start to the first page with a metric of a probe, and that page."""
        while time.monotonic() < self.started + START_SECONDS and self.process.poll() is None:
            try:
                page = self.scrape()
            except OSError:
                page = ""
            if total(page, "ebpf_map_memory_bytes"):
                return time.monotonic() - self.started, page
            time.sleep(0.005)
        self.log.seek(0)
        raise SystemExit(f"the service does not run:\n{self.log.read().decode(errors='replace')}")


def _change(module: str, constant: str, value: float) -> str:
    """A line of Python that changes a constant, and fails where there is none of that name."""
    return f"import ebpf_sidecar.{module} as module; module.{constant}; module.{constant} = {value!r}"


def free_port() -> int:
    """A free port on the loopback interface."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def by_labels(page: str, name: str) -> dict[str, float]:
    """The samples of ``name`` on a page by the text of their labels."""
    lines = [line for line in page.splitlines() if line.startswith((name + "{", name + " "))]
    return {line[len(name) :].rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def total(page: str, name: str) -> float:
    """Those samples added up."""
    return sum(by_labels(page, name).values())
