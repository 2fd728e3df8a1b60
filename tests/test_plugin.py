# SPDX-License-Identifier: Apache-2.0
"""A third party's processor and probe, in a distribution that is really installed into a fresh environment."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLE = Path(__file__).parent / "plugin_example"


def run(*command, **options):
    """Run a command; its output when it succeeds."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, check=False, **options)

    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """Our own wheel and the third party's, built as for a package index."""
    folder = tmp_path_factory.mktemp("wheels")
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder)
    run(*pip, ROOT, EXAMPLE)
    return sorted(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def python(wheels, tmp_path_factory):
    """The Python of a fresh environment into which both wheels were installed; their dependencies are lent by ours."""
    home = tmp_path_factory.mktemp("fresh")
    run(sys.executable, "-m", "venv", "--without-pip", home)
    site = Path(run(home / "bin/python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-warn-script-location", "--target", site,
        *wheels)  # fmt: skip
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin/python"


def command(python, *arguments, cwd):
    """What the installed command prints, started as a user would far from the source tree."""
    code = "import sys; from ebpf_sidecar.pipeline.cli.main import main; main()"
    return run(python, "-c", code, *arguments, cwd=cwd)


def test_the_wheel_holds_one_name_and_everything_below_it(wheels):
    """Whoever installs the product gets the probes, the configurations and the recording, and no foreign name."""
    names = zipfile.ZipFile(next(wheel for wheel in wheels if wheel.name.startswith("ebpf_sidecar-"))).namelist()
    tops = {name.split("/")[0] for name in names}

    assert {"ebpf_sidecar"} == {top for top in tops if not top.endswith(".dist-info")}
    assert {
        "ebpf_sidecar/bpf/page_cache.c",
        "ebpf_sidecar/bpf/page_cache.yaml",
        "ebpf_sidecar/configs/default.yaml",
        "ebpf_sidecar/py.typed",
    } <= set(names)


def test_it_is_listed_with_its_distribution(python, tmp_path):
    """``components`` shows its package."""
    [listed] = [
        each for each in json.loads(command(python, "components", "--json", cwd=tmp_path)) if each["type"] == "tenths"
    ]

    assert "processor" == listed["kind"]
    assert "sidecar-tenths" in json.dumps(listed)
    assert "1.2.3" in json.dumps(listed)


def free_port():
    """A free port on the loopback interface."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def misses(port):
    """The miss counters on a page by their labels, empty while there is no page."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            page = answer.read().decode()
    except OSError:
        return {}
    lines = [line.rpartition(" ") for line in page.splitlines() if line.startswith("ebpf_cache_misses_total")]
    return {labels: int(value) for labels, _, value in lines}


@pytest.fixture
def pages(python, tmp_path):
    """The installed service on a recording that ends: ports of the pages before and after the third-party processor."""
    before, after = free_port(), free_port()
    config = tmp_path / "tenths.yaml"
    config.write_text(
        f"""
        receivers: {{replay: {{loop: false, speed: 100}}}}
        processors: {{tenths: {{}}}}
        exporters:
          prometheus/before: {{endpoint: "127.0.0.1:{before}"}}
          prometheus/after: {{endpoint: "127.0.0.1:{after}"}}
        service:
          pipelines:
            metrics: {{receivers: [replay], exporters: [prometheus/before]}}
            metrics/tenths: {{receivers: [replay], processors: [tenths], exporters: [prometheus/after]}}
        """
    )
    code = "import sys; from ebpf_sidecar.pipeline.cli.main import main; main()"
    service = subprocess.Popen([python, "-c", code, "run", "--config", config], cwd=tmp_path)
    yield before, after
    service.terminate()

    assert 0 == service.wait(20)


def test_it_changes_data_in_a_running_pipeline(pages):
    """On the page after it each miss counter is a tenth of the one before it."""
    before, after, deadline = {}, {}, time.monotonic() + 30
    while time.monotonic() < deadline:
        before, after = misses(pages[0]), misses(pages[1])
        # both pages show the same batch, and one in which there is something to see
        if after == {labels: value // 10 for labels, value in before.items()} and max(before.values(), default=0) >= 10:
            return
        time.sleep(0.1)

    pytest.fail(f"before: {before}, after: {after}")


@pytest.mark.kernel
@pytest.mark.parallel
@pytest.mark.skipif(os.geteuid() != 0 or importlib.util.find_spec("bcc") is None, reason="needs root and python3-bpfcc")
def test_a_third_party_probe_is_proved_by_its_own_cases(python, tmp_path):
    """Compiled with our headers and run here, with the workload beside it: 23 children are counted as 23."""
    reported = json.loads(command(python, "selftest", "--probe", "forks", "--quick", "--json", cwd=tmp_path))
    [hook], [checked] = reported["hooks"], reported["metrics"]

    assert (True, True) == (hook["attached"], hook["live"]), hook
    assert ("forks.children", "starting", "ok") == (checked["metric"], checked["workload"], checked["verdict"])
    assert 23 == checked["expected"] == checked["measured"]


@pytest.mark.kernel
@pytest.mark.parallel
@pytest.mark.skipif(os.geteuid() != 0 or importlib.util.find_spec("bcc") is None, reason="needs root and python3-bpfcc")
def test_a_third_party_probe_works_beside_ours(python, tmp_path):
    """All in one object: headers that both include are there once."""
    chosen = ("--probe", "forks", "--probe", "syscalls")
    reported = json.loads(command(python, "selftest", *chosen, "--quick", "--json", cwd=tmp_path))

    assert {"forks", "syscalls"} == {hook["probe"] for hook in reported["hooks"] if hook["attached"]}
    assert 0 == reported["totals"]["wrong"]
    assert "ok" in {each["verdict"] for each in reported["metrics"] if each["metric"] == "forks.children"}
