# SPDX-License-Identifier: Apache-2.0
"""A reload beside the kernel: what is equal keeps its probes and its counts, and other probes come by the broker."""

import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from bpf_programs import exists, programs_of
from waiting import until

pytestmark = pytest.mark.parallel

READING = """
import sys
name, path = sys.argv[1:]
with open("/proc/self/comm", "w") as comm:
    comm.write(name)
with open(path, "wb") as file:
    file.write(bytes(1 << 20))
while True:
    with open(path, "rb", buffering=0) as file:
        while file.read(4096):
            pass
"""


@pytest.fixture
def busy(tmp_path):
    """A process that reads a file for ever, by its name."""
    process = subprocess.Popen([sys.executable, "-c", READING, "reload-busy", tmp_path / "data"])
    yield "reload-busy"
    process.kill()
    process.wait()


def reload(service, *changes):
    """Change the configuration, and wait for what the log says about it."""
    file, before = service.log.with_name(f"config{service.port}.yaml"), service.log.read_text()
    text = file.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    service.process.send_signal(signal.SIGHUP)
    assert until(lambda: "reloaded" in service.log.read_text()[len(before) :], 60)
    return service.log.read_text()[len(before) :]


def counts(page, name):
    """The counters of that process, by labels."""
    return {key: value for key, value in page.samples.items() if key[0].endswith("_total") and name in str(key)}


def rights(service):
    """The capabilities of the service."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return [line.split()[1] for line in status.splitlines() if line.startswith(("CapPrm", "CapBnd"))]


def test_a_reload_of_what_is_behind_the_receiver_keeps_its_probes_and_counts(serve, busy):
    """Processors go, cleanup and exporter change; programs in the kernel, totals and rows are the same."""
    service = serve(interval=1.0, probes="[page_cache, syscalls]")
    pages, programs = [service.settled()], programs_of(service.process.pid)
    for changes in (
        [("cleanup_strategy: keep_recent", "cleanup_strategy: clear_after_read"), ("interval: 30s", "interval: 1s")],
        [("container, rate]", "container]")],
        [("start_at_zero: false", "start_at_zero: false, metric_expiration: 2m")],
        [("map_cleanup, container]", "container]")],
    ):
        assert "kept: " in reload(service, *changes)
        pages.append(service.settled())
    found = [counts(page, busy) for page in pages]
    missed = [page.sum("ebpf_sidecar_receiver_missed_intervals_total") for page in pages]

    assert programs == programs_of(service.process.pid)
    assert len(found[0]) > 3
    for before, now in pairwise(found):
        assert before.keys() <= now.keys()
        assert [] == [key for key in before if now[key] < before[key]]
    grown = max(found[0], key=lambda key: found[-1][key] - found[0][key])
    assert 0 < found[0][grown] < found[1][grown] < found[2][grown] < found[3][grown] < found[4][grown]
    assert missed[0] == missed[-1]


def test_another_probe_comes_by_the_broker_and_the_old_programs_go(serve, busy):
    """The service itself has no privileges any more; an invalid set of probes leaves the old ones."""
    service = serve(probes="[page_cache]")
    before, dropped = programs_of(service.process.pid), rights(service)
    wrong = reload(service, ("[page_cache]", "[page_cash]"))
    same = programs_of(service.process.pid)
    more = reload(service, ("[page_cash]", "[page_cache, syscalls]"))
    page = service.settled()

    assert 'unknown probe "page_cash"; did you mean "page_cache"?' in wrong
    assert before == same
    assert "changed: receiver ebpf" in more
    assert page.sum("ebpf_syscall_calls_total", comm=busy) > 0
    assert until(lambda: not any(map(exists, before)), 10)
    assert dropped == rights(service)
    assert not any("dropped" in line for line in service.log.read_text().splitlines())


def test_what_cannot_be_loaded_leaves_the_probes_that_are(serve, busy):
    """Without the broker no other probe can be had; what is attached goes on counting."""
    service = serve(probes="[page_cache]")
    before, first = programs_of(service.process.pid), counts(service.settled(), busy)
    [broker] = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split()
    os.kill(int(broker), signal.SIGKILL)
    failed = reload(service, ("[page_cache]", "[page_cache, syscalls]"))
    second = counts(service.settled(), busy)

    assert "error ebpf: " in failed
    assert "error not reloaded; the previous configuration runs on" in failed
    assert before == programs_of(service.process.pid)
    assert first.keys() <= second.keys()
    assert [] == [key for key, value in first.items() if second[key] < value]


def test_a_file_that_only_its_owner_may_read_can_be_read_again_if_that_is_root(serve):
    """The capability to read those of others was given up at the start."""
    service = serve(probes="[page_cache]")
    file = service.log.with_name(f"config{service.port}.yaml")
    file.chmod(0o600)
    own = reload(service)
    os.chown(file, 65534, 65534)
    foreign = reload(service)

    assert "reloaded; kept: " in own
    assert f"{file}: cannot be read: permission denied; check the path and its rights" in foreign
    assert "error not reloaded; the previous configuration runs on" in foreign
