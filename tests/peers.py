# SPDX-License-Identifier: Apache-2.0
"""Programs of other projects that `make peers` built for tests: where they are, and how they are started."""

import os
import re
import shutil
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from waiting import until

from ebpf_sidecar.pipeline.endpoint import Address

VERSIONS = dict(re.findall(r"^(\w+)=(\S+)", (Path(__file__).parents[1] / ".ci/peers/versions").read_text(), re.M))


def cached(name, environment=os.environ):
    """The folder of a peer in the version that .ci/peers asks for; None where there is none, or none for us."""
    home = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ebpf-sidecar" / "peers"
    folder = Path(environment.get("EBPF_SIDECAR_PEERS") or home) / name / VERSIONS[name]
    return folder if os.access(folder, os.R_OK | os.X_OK) else None


def needs_peer(name, run_by=None):
    """Skips the test where the peer has not been built, or the program that runs it is not installed."""
    if run_by and shutil.which(run_by) is None:
        return pytest.mark.skip(reason=f"{run_by} is not installed, which runs {name}")
    reason = f"there is no {name} {VERSIONS[name]}; `make peers ARGS={name}` builds it"
    return pytest.mark.skipif(cached(name) is None, reason=reason)


def free_addresses(count):
    """So many addresses of this machine, all different, on which nothing listens."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(Address("127.0.0.1", 0).listen()) for _ in range(count)]
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]


@contextmanager
def running(command, log, ready, seconds=120):
    """A peer's process once it is ready; what it prints goes to a file. Ended with the block."""
    with log.open("wb") as output:
        process = subprocess.Popen([*map(str, command)], stdout=output, stderr=output)
    try:
        until(lambda: process.poll() is not None or ready(), seconds)
        if process.poll() is not None or not ready():
            pytest.fail(f"{command[0]} did not start (exit code {process.poll()}): {log.read_text()[-3000:]}")
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        finally:
            process.kill()
