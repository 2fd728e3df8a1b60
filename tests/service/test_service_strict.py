# SPDX-License-Identifier: Apache-2.0
"""A hook that this kernel lacks, as a user sees it: on the page, in the log, by the doctor, and with strict."""

import json
import subprocess
from pathlib import Path

import pytest
from mounts import WITH_TRACEFS, in_mounts, why_no_tracefs

PROBES = Path(__file__).parent / "probes"
BRIEFLY = "no tracepoint sched:sched_imagined"
WHY = "this kernel has no tracepoint sched:sched_imagined (it came with 99.1)"
MODULE = f"""
from pathlib import Path
from ebpf_sidecar.pipeline import hookimpl

@hookimpl
def register_probes():
    return [Path({str(PROBES)!r})]
"""
CONFIG = """
receivers: {{ebpf: {{probes: [partial], strict: {strict}}}}}
exporters: {{debug: {{}}}}
service: {{pipelines: {{metrics: {{receivers: [ebpf], exporters: [debug]}}}}}}
"""

pytestmark = pytest.mark.parallel


@pytest.fixture(autouse=True)
def _installed(tmp_path, monkeypatch):
    """The probe of the tests, brought by a plugin as a third party's would be."""
    about = tmp_path / "partial-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: partial\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[ebpf_sidecar]\nprobes.partial = partial_probe\n")
    (tmp_path / "partial_probe.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.fixture
def run_on_probe(command, tmp_path):
    """What a command prints about the probe: exit code, output, errors."""
    if why_no_tracefs():
        pytest.skip(why_no_tracefs())

    def run_on_probe(*words, strict):
        config = tmp_path / "config.yaml"
        config.write_text(CONFIG.format(strict=strict))
        line = in_mounts(WITH_TRACEFS, [*command, *words, "--config", str(config)])
        done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stdout, done.stderr

    return run_on_probe


def test_a_missing_hook_leaves_its_metrics_absent_with_the_reason(serve, work):
    """Absent, not zero; the other hook of the same probe counts."""
    service = serve(probes="[partial]")
    work("partial-test", "calls.py", "failing", 3)
    page = service.settled()
    attached = {dict(labels)["hook"]: value for labels, value in page.rows("ebpf_probe_attached").items()}

    assert {"calls": 1, "imagined": 0} == attached
    assert [0] == list(page.rows("ebpf_probe_attached", hook="imagined", reason=BRIEFLY).values())
    assert 23 <= page.sum("partial_calls_total", comm="partial-test")
    assert "partial_imagined" not in service.get("/metrics")
    assert f"metric partial.imagined is absent: {BRIEFLY}" in service.log.read_text()
    assert 1 == service.log.read_text().count(BRIEFLY)


def test_with_strict_the_service_does_not_start(run_on_probe):
    """One line names the hook, the reason and what to do; the exit code is 1."""
    code, _, reported = run_on_probe("run", strict="true")

    assert 1 == code
    assert "ebpf: cannot load probes: not every hook could be attached, and strict is on: partial::imagined" in reported
    assert f"{WHY}; turn strict off, or leave out the probe" in reported
    assert "Traceback" not in reported


@pytest.mark.parametrize(("strict", "verdict", "code"), [("false", "note", 0), ("true", "problem", 1)])
def test_the_doctor_reports_it_beforehand(run_on_probe, strict, verdict, code):
    """A problem where the service would not start; otherwise a note."""
    exit_code, reported, _ = run_on_probe("doctor", "--json", strict=strict)
    [finding] = [each for each in json.loads(reported)["findings"] if each["subject"] == "partial::imagined"]

    assert code == exit_code
    assert (verdict, f"{WHY}; absent: partial.imagined") == (finding["verdict"], finding["found"])
    assert "use kernel 99.1 or later" in finding["fix"]


def test_the_self_test_shows_it_and_proves_nothing_by_it(run_on_probe):
    """No case is known for this probe, which is reported and is not a success."""
    code, reported, _ = run_on_probe("selftest", "--quick", strict="false")

    assert 1 == code
    assert f"partial::imagined: not attached: {WHY}" in reported
    assert "nothing could be checked here, so nothing is proven" in reported
