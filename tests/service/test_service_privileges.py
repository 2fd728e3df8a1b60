# SPDX-License-Identifier: Apache-2.0
"""The privileges that long-running processes keep, and that everything works with them."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest
from bpf_programs import exists, programs_of

from ebpf_sidecar.pipeline.process.capabilities import capability_sets, permitted_capabilities
from ebpf_sidecar.receivers.ebpf.kernel.reader_rights import LOADING, rights_to_read

SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
SERVING = 1
LONG_NAMES = {"0": "roots-rather-long-executable-name", "65534": "a-daemons-rather-long-executable-name"}

pytestmark = pytest.mark.parallel


def threads(pid):
    """The folders of a process's threads in /proc."""
    return sorted(Path(f"/proc/{pid}/task").iterdir())


def state(thread):
    """NoNewPrivs and Seccomp."""
    text = (thread / "status").read_text()
    return tuple(int(re.search(rf"^{name}:\s*(\d+)$", text, re.MULTILINE)[1]) for name in ("NoNewPrivs", "Seccomp"))


def broker_of(pid):
    """The only child that keeps running."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert b"broker_process.py" in Path(f"/proc/{child}/cmdline").read_bytes()
    return int(child)


def until(condition, seconds=10):
    """Whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_processes_that_stay_have_only_the_rights_that_they_need_and_scrapes_go_on(serve):
    """All capability sets, NoNewPrivs and Seccomp: of each thread of the service, which may only read, and of the
    broker, which has what the loader needs and can gain nothing either; hooks are found live by then.
    """
    kept = frozenset(rights_to_read())
    service = serve(probes="[page_cache, syscalls, page_faults]")
    page = service.settled()
    found = [(capability_sets(thread), state(thread)) for thread in threads(service.process.pid)]
    (broker,) = threads(broker_of(service.process.pid))
    wanted = frozenset({*LOADING, "SYS_PTRACE"}) & permitted_capabilities()

    assert len(found) > 3
    for sets, others in found:
        assert {"CapInh": frozenset(), "CapPrm": kept, "CapEff": kept, "CapBnd": kept, "CapAmb": frozenset()} == sets
        assert (1, 2) == others
    assert (dict.fromkeys(SETS, wanted), (1, 0)) == (capability_sets(broker), state(broker))
    live = page.rows("ebpf_probe_live")
    assert len(live) > 10
    assert {1.0} == set(live.values())
    assert not page.rows("ebpf_collector_errors_total")


def test_kill_9_leaves_neither_broker_nor_programs(serve):
    """The broker ends with its socket, and programs in the kernel with the process that holds them."""
    service = serve(probes="[syscalls]")
    broker, programs = broker_of(service.process.pid), programs_of(service.process.pid)
    service.process.kill()
    service.process.wait()

    assert programs
    assert until(lambda: not Path(f"/proc/{broker}").exists())
    assert until(lambda: not any(map(exists, programs)))


def test_a_broker_that_dies_is_reported_and_readings_go_on(serve):
    """One line and one error."""
    service = serve(probes="[syscalls]")
    os.kill(broker_of(service.process.pid), signal.SIGKILL)

    assert until(lambda: "the privilege broker has ended (exit status -9)" in service.log.read_text())
    page = service.settled()
    assert 1 == page.sum("ebpf_collector_errors_total", component="privilege broker")
    assert 0 == service.stop()
    assert 1 == service.log.read_text().count("privilege broker")


@pytest.fixture
def everybodys():
    """A folder into which any user may go; pytest's own are closed."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def start_as(user, program):
    """A process of that user, which reads a block for each that it is fed; its command line names another file, so that
    only the executable's link shows its own.
    """
    shutil.copy("/usr/bin/dd", program)
    line = [
        "setpriv",
        f"--reuid={user}",
        "--clear-groups",
        "bash",
        "-c",
        f"exec -a short {program} of=/dev/null bs=512",
    ]
    process = subprocess.Popen(line, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)
    assert until(lambda: Path(f"/proc/{process.pid}/comm").read_text() == f"{program.name[:15]}\n", 10)
    return process


def test_names_of_other_users_executables_are_completed(serve, everybodys):
    """Without privileges no user may read ``exe`` of another user, nor root without capabilities that of a daemon. Both
    programs run before the service.
    """
    with ExitStack() as ending:
        fed = {name: ending.enter_context(start_as(user, everybodys / name)) for user, name in LONG_NAMES.items()}
        service = serve(probes="[syscalls]")

        def named(name):
            fed[name].stdin.write(bytes(512))
            return service.page().rows("ebpf_syscall_calls_total", comm=name)

        assert [] == [name for name in fed if not until(lambda name=name: named(name), 30)]


ATTEMPTS = """
import ctypes, errno, os, sys
sys.path[:] = sys.argv.pop(1).split(os.pathsep)
from ebpf_sidecar.pipeline.process.capabilities import forbid_new_privileges
from ebpf_sidecar.pipeline.process.seccomp import refuse_system_calls
from ebpf_sidecar.receivers.ebpf.kernel.syscall_table import syscall_table
forbid_new_privileges()
refuse_system_calls()
numbers, libc = syscall_table(os.uname().machine).numbers, ctypes.CDLL(None, use_errno=True)
for name in sys.argv[1:]:
    call, _, first = name.partition("=")
    done = libc.syscall(numbers[call], ctypes.c_long(int(first or 0)), None, None, None, None)
    print(name, errno.errorcode.get(ctypes.get_errno()) if done < 0 else done)
"""


def attempts(*calls):
    """The kernel's answers to root under the filter, by call; ``=``: the first argument."""
    line = [sys.executable, "-c", ATTEMPTS, os.pathsep.join(sys.path), *calls]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True)
    return dict(line.split() for line in done.stdout.splitlines())


def test_the_filter_refuses_with_eperm_what_even_root_may_not_do():
    """bpf(2) still reads maps (EFAULT, EBADF or EINVAL: it passed the filter), but creates and loads nothing."""
    refused = ["ptrace", "mount", "umount2", "unshare=131072", "setns", "kexec_load", "init_module", "reboot", "bpf=0",
               "bpf=5", "bpf=28", "bpf=99", "perf_event_open", "io_uring_setup", "userfaultfd", "keyctl", "setuid",
               "settimeofday", "swapon", "open_by_handle_at", "process_vm_readv", "clone=268435456"]  # fmt: skip
    found = attempts(*refused, "clone3", "bpf=1", "bpf=15", "bpf=24")

    assert {"EPERM"} == {found[call] for call in refused}
    assert "ENOSYS" == found["clone3"]
    assert {found[call] for call in ("bpf=1", "bpf=15", "bpf=24")} <= {"EFAULT", "EBADF", "EINVAL"}


def test_a_service_keeps_all_privileges_when_configured(serve, command, tmp_path):
    """For plugins that need them: without the drop there is no broker."""
    config, log = tmp_path / "config.yaml", tmp_path / "log"
    config.write_text(
        "receivers: {replay: {}}\nexporters: {debug: {}}\nservice: {privileges: {drop: false}, pipelines: {metrics: "
        "{receivers: [replay], exporters: [debug]}}}"
    )
    with log.open("wb") as output:
        process = subprocess.Popen([*command, "run", "--config", str(config)], stderr=output, stdout=subprocess.DEVNULL)
    assert until(lambda: "ready: " in log.read_text())
    mine = capability_sets(Path(f"/proc/{process.pid}"))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    process.terminate()

    assert (capability_sets(Path("/proc/self"))["CapEff"], "") == (mine["CapEff"], children)
    assert 0 == process.wait(20)


@pytest.mark.parametrize("keep", [False, True])
def test_a_port_below_1024_takes_a_right_that_can_be_kept(command, tmp_path, keep):
    """Without it the message names the setting."""
    log, port = tmp_path / "log", 81
    more = ["--set", "service.privileges.keep=[NET_BIND_SERVICE]"] if keep else []
    exporter = ["--set", f"exporters.prometheus.endpoint=127.0.0.1:{port}", "--set", "receivers.ebpf.probes=[syscalls]"]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, "run", *exporter, *more], stderr=output)
    with process:
        if keep:
            assert until(lambda: "ready: " in log.read_text(), 30), log.read_text()
            sets = capability_sets(Path(f"/proc/{process.pid}"))
            assert frozenset({"NET_BIND_SERVICE", *rights_to_read()}) == sets["CapEff"]
            process.terminate()

    assert (0 if keep else 1) == process.returncode
    if not keep:
        assert f'cannot listen on "127.0.0.1:{port}": permission denied' in log.read_text().lower()
        assert "add NET_BIND_SERVICE to service::privileges::keep" in log.read_text()


def test_a_key_of_roots_own_can_be_read_after_the_drop(tmp_path):
    """0400 and owned by root, as TLS keys are: the user stays, only rights go."""
    key = tmp_path / "key.pem"
    key.write_text("secret")
    key.chmod(0o400)
    code = (
        "import sys, os; sys.path[:] = sys.argv[2].split(os.pathsep)\n"
        "from ebpf_sidecar.pipeline.process.capabilities import limit_capabilities, permitted_capabilities\n"
        "limit_capabilities(())\nassert not permitted_capabilities()\nprint(open(sys.argv[1]).read())"
    )
    line = [sys.executable, "-c", code, str(key), os.pathsep.join(sys.path)]

    assert "secret\n" == subprocess.run(line, capture_output=True, text=True, check=True).stdout


REPLAYED = """
receivers: {{replay: {{speed: 100}}}}
processors: {{container: {{}}, rate: {{}}}}
exporters: {{prometheus: {{endpoint: "127.0.0.1:{http}"}}, debug: {{}}}}
extensions: {{health_check: {{endpoint: "127.0.0.1:{health}", grpc: {{endpoint: "127.0.0.1:{grpc}"}}}}}}
service:
  extensions: [health_check]
  pipelines: {{metrics: {{receivers: [replay], processors: [container, rate], exporters: [prometheus, debug]}}}}
"""


def free_port():
    """A free port on the loopback interface."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture
def replayed(command, tmp_path):
    """Run a replay with every exporter and extension, by a command line that starts with this; ports, process."""
    running = []

    def replayed(*before, options=()):
        ports = {name: free_port() for name in ("http", "health", "grpc")}
        config, log = tmp_path / "config.yaml", tmp_path / "log"
        config.write_text(REPLAYED.format(**ports))
        words = options or ("--config", str(config))
        with log.open("wb") as output:
            process = subprocess.Popen([*before, *command, "run", *words], stderr=output, stdout=subprocess.DEVNULL)
        running.append(process)
        assert until(lambda: "ready: " in log.read_text(), 30), log.read_text()
        return ports, process

    yield replayed
    for process in running:
        process.terminate()
        assert 0 == process.wait(20)


def test_every_exporter_and_extension_lives_with_the_filter(replayed):
    """Pages, status pages and gRPC, by libraries whose system calls we do not choose."""
    grpc, health = pytest.importorskip("grpc"), pytest.importorskip("grpc_health.v1.health_pb2")
    stubs = pytest.importorskip("grpc_health.v1.health_pb2_grpc")
    ports, process = replayed()
    with grpc.insecure_channel(f"127.0.0.1:{ports['grpc']}") as channel:
        stub = stubs.HealthStub(channel)
        serving = until(lambda: stub.Check(health.HealthCheckRequest(), timeout=10).status == SERVING)
    pages = [urllib.request.urlopen(f"http://127.0.0.1:{ports[name]}/health", timeout=10).status
             for name in ("http", "health")]  # fmt: skip

    assert serving
    assert [200, 200] == pages
    assert {(1, 2)} == set(map(state, threads(process.pid)))
    assert {frozenset()} == {capability_sets(thread)["CapPrm"] for thread in threads(process.pid)}


def test_rights_are_given_up_twice_where_a_replay_takes_the_place_of_probes(replayed):
    """What was given up at the first start is not missed at the second."""
    endpoint = f"exporters.prometheus.endpoint=127.0.0.1:{free_port()}"
    before = ["setpriv", "--bounding-set=-all,+sys_ptrace", "--inh-caps=-all"]
    _, process = replayed(*before, options=["--or-replay", "--set", endpoint])

    assert {(1, 2)} == set(map(state, threads(process.pid)))
    assert {frozenset()} == {capability_sets(thread)["CapPrm"] for thread in threads(process.pid)}
