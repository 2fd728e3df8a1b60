# SPDX-License-Identifier: Apache-2.0
"""The commands' work, on plugins of the test."""

from __future__ import annotations

import json
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from ebpf_sidecar.pipeline.cli import components
from ebpf_sidecar.pipeline.cli import config as config_command
from ebpf_sidecar.pipeline.cli import run as run_command
from ebpf_sidecar.pipeline.cli.commands import exit_code
from ebpf_sidecar.pipeline.component import ComponentKind
from ebpf_sidecar.pipeline.config.yaml_document import parse
from ebpf_sidecar.pipeline.errors import ProbeError
from ebpf_sidecar.pipeline.plugins import Plugins

DATA = Path(__file__).parents[2] / "data" / "configs"
BRANCHED = """
receivers: {ebpf: , ebpf/slow: }
processors: {rate: }
exporters: {prometheus: , debug: , otlp: {endpoint: x}}
extensions: {health_check: }
service:
  extensions: [health_check]
  pipelines:
    metrics: {receivers: [ebpf, ebpf/slow], processors: [rate], exporters: [prometheus, debug, otlp]}
    metrics/plain: {receivers: [ebpf], exporters: [debug]}
"""
SECRETS = """
receivers: {ebpf: {owner: "${env:OWNER}", labels: {api_key: k3y}}}
exporters:
  otlp:
    endpoint: https://me:hunter2@example.org
    dsn: d5n
    password: "${env:PASSWORD}"
    headers: {Authorization: Bearer t0ken, X-Scope: me}
  unknown: {token: tok}
service: {pipelines: {metrics: {receivers: [ebpf], exporters: [otlp]}}}
"""


@pytest.fixture
def run(monkeypatch, plugins, tmp_path, capsys):
    """Runs a command line on a configuration with the test's plugins; gives exit code, output and errors."""
    for module in (config_command, components, run_command):
        monkeypatch.setattr(module, "Plugins", lambda: plugins)
    monkeypatch.chdir(tmp_path)

    def command(*arguments, text=None):
        if text is not None:
            Path("c.yaml").write_text(text)
            arguments = (*arguments, "--config", "c.yaml")
        code = exit_code(arguments)
        return code, *capsys.readouterr()

    return command


def test_check_prints_ok_and_draws_the_pipelines(run):
    """Branches on both sides, in characters that every terminal has."""
    expected = """\
ok
extensions: health_check
metrics:
  ebpf      --+--> rate --+--> prometheus
  ebpf/slow --+           +--> debug
                          +--> otlp
metrics/plain:
  ebpf --> debug
"""

    assert (0, expected, "") == run("check", text=BRANCHED)


def test_check_warns_about_what_is_not_used(run):
    """On standard error; the exit code is still 0."""
    code, out, err = run("check", text=BRANCHED.replace(", debug, otlp]", ", debug]"))

    assert (0, "ok") == (code, out.splitlines()[0])
    assert "warning: c.yaml:4:36: exporters::otlp: exporter is configured but not used;" in err


def test_check_prints_every_mistake_on_a_line_and_exits_with_2(run):
    """On standard error, without colours if it is not a terminal; nothing on standard output."""
    text = (DATA / "wrong" / "everything_at_once.yaml").read_text()
    expected = (DATA / "wrong" / "everything_at_once.txt").read_text().replace("everything_at_once.yaml", "c.yaml")

    assert (2, "", expected) == run("check", text=text)


def test_run_starts_nothing_when_the_configuration_is_wrong(run):
    """The same mistakes, the same exit code."""
    code, out, err = run("run", "--set", "receivers.ebpf.buffer=x", text=BRANCHED)

    assert (2, "") == (code, out)
    assert '--set receivers.ebpf.buffer: receivers::ebpf::buffer: "x" is not a whole number; write digits' in err


def receivers(configs):
    """The receivers that run, by configuration."""
    return [sorted(map(str, config.service.used(ComponentKind.RECEIVER))) for config in configs]


@pytest.fixture
def services(monkeypatch):
    """Runs no service but keeps the configurations; one with the receiver ``ebpf`` lacks its rights."""
    ran = []

    def run_service(config, request, *, reader):
        ran.append(config)
        if "ebpf" in receivers([config])[0]:
            raise ProbeError("cannot load: CAP_BPF missing; run as root", component="ebpf")
        return 0

    monkeypatch.setattr("ebpf_sidecar.pipeline.running.run.run_service", run_service)
    return ran


def test_run_fails_with_1_where_ebpf_cannot_be_used(run, services):
    """And explains what is missing and how to get it."""
    assert (1, "", "ebpf: cannot load: CAP_BPF missing; run as root\n") == run("run", text=BRANCHED)
    assert [["ebpf", "ebpf/slow"]] == receivers(services)


def test_run_or_replay_explains_in_three_lines_and_plays_a_recording(run, services, monkeypatch):
    """The first impression works everywhere, and is clearly labelled."""
    monkeypatch.setattr(run_command, "Plugins", Plugins)  # the packaged configurations need the real ones
    code, out, err = run("run", "--or-replay")

    assert (0, "") == (code, out)
    assert [["ebpf"], ["replay"]] == receivers(services)
    assert [
        "no eBPF here: cannot load: CAP_BPF missing",
        "to get it: run as root",
        "until then: a recording from another machine is replayed; its numbers are not those of this machine",
    ] == err.splitlines()


def test_what_is_set_holds_for_the_recording_as_well(run, services, monkeypatch):
    """A chosen port is kept, and settings of the receiver that cannot run cause no warning."""
    monkeypatch.setattr(run_command, "Plugins", Plugins)  # see above
    chosen = ("exporters.prometheus.endpoint=127.0.0.1:1", "receivers.ebpf.collection_interval=1s")
    code, *_ = run("run", "--or-replay", *(word for path in chosen for word in ("--set", path)))
    measured, replayed = services
    (exporter,) = replayed.service.used(ComponentKind.EXPORTER)

    assert 0 == code
    assert measured.exporters[exporter].settings == replayed.exporters[exporter].settings
    assert "127.0.0.1:1" == str(replayed.exporters[exporter].settings.endpoint)
    assert () == replayed.warnings


def test_several_files_and_standard_input_are_merged(run, monkeypatch):
    """``-`` reads standard input; later files win."""
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(b"receivers: {ebpf/2: {buffer: 0}}")))
    code, _, err = run("check", "--config", "-", text=BRANCHED)

    assert (2, 'stdin:1:22: receivers::ebpf/2::buffer: "0" is below 1; write at least 1\n') == (code, err)


def test_the_environment_may_name_the_files(run, monkeypatch):
    """EBPF_SIDECAR_CONFIG holds one or more paths with colons between them; --config wins over it."""
    Path("a.yaml").write_text(BRANCHED)
    Path("b.yaml").write_text("receivers: {ebpf: {buffer: 0}}")
    monkeypatch.setenv("EBPF_SIDECAR_CONFIG", "a.yaml:b.yaml")

    assert (2, "", 'b.yaml:1:20: receivers::ebpf::buffer: "0" is below 1; write at least 1\n') == run("check")
    assert 0 == run("check", text=BRANCHED)[0]


def test_print_config_masks_secrets_by_name_type_and_form(run, monkeypatch):
    """Whatever is printed, no secret is; the rest is expanded, and still printed where a component is unknown."""
    monkeypatch.setenv("OWNER", "me")
    monkeypatch.setenv("PASSWORD", "p4ss")
    code, out, err = run("print-config", text=SECRETS)
    tree = parse(out, "printed").value

    assert (2, 1) == (code, len(err.splitlines()))
    assert 'c.yaml:9:3: exporters::unknown: exporter type "unknown" is not installed' in err
    assert not [secret for secret in ("k3y", "hunter2", "d5n", "p4ss", "t0ken", "tok\n") if secret in out]
    assert "me" == tree["receivers"]["ebpf"]["owner"]
    assert "https://[REDACTED]@example.org" == tree["exporters"]["otlp"]["endpoint"]
    assert "me" == tree["exporters"]["otlp"]["headers"]["X-Scope"]


def test_print_config_of_a_right_configuration_exits_with_0(run):
    """And what it prints is a configuration that loads."""
    code, out, err = run("print-config", "--set", "receivers.ebpf.buffer=7", text=BRANCHED)

    assert (0, "") == (code, err)
    assert 7 == parse(out, "printed").value["receivers"]["ebpf"]["buffer"]
    assert 0 == run("check", text=out)[0]


def test_components_lists_all_and_explains_the_broken(run):
    """Aligned; a broken plugin has its cause in place of a description, and the exit code is 0."""
    code, out, err = run("components")
    lines = out.splitlines()
    column = lines[0].index("DESCRIPTION")

    assert (0, "") == (code, err)
    assert ["KIND", "TYPE", "STABILITY", "PACKAGE", "DESCRIPTION"] == lines[0].split()
    assert "A ebpf for tests" == lines[1][column:]
    [broken] = [line for line in lines if line.startswith("processor  broken")]
    assert "No module named 'no_such_module_of_ours'" in broken[column:]
    [elsewhere] = [line for line in lines if line.startswith("processor  elsewhere")]
    assert 'registers no processor of type "elsewhere"' in elsewhere[column:]


def test_components_as_json_has_the_same_content(run):
    """For scripts: an empty ``error`` means that the component can be used."""
    code, out, _ = run("components", "--json")
    by_name = {f"{each['kind']}.{each['type']}": each for each in json.loads(out)}

    assert 0 == code
    assert ("beta", "") == (by_name["exporter.otlp"]["stability"], by_name["exporter.otlp"]["error"])
    assert {"kind", "type", "stability", "distribution", "version", "description", "error"} == set(
        by_name["exporter.otlp"]
    )
    assert ["processor.broken", "processor.elsewhere"] == sorted(
        name for name, each in by_name.items() if each["error"]
    )


def test_components_shows_probes_and_misnamed_entry_points(install, tmp_path, entries):
    """A folder of probes is listed with its probes; an entry point of unknown kind is reported."""
    from_conftest = type(entries[0].load())
    (tmp_path / "disk.yaml").touch()
    probes = install("probes.mine", from_conftest(folders=(tmp_path,)))
    misnamed = install("procesor.rate", from_conftest())
    unnamed = install("processor", from_conftest())
    found = {each.type: each for each in components.list_components(Plugins([probes, misnamed, unnamed]))}

    assert "disk" == found["mine"].description
    assert 'has no name after its kind; name it "processor.<name>"' in found[""].error
    assert 'unknown kind "procesor"; did you mean "processor"?' in found["rate"].error


def test_schema_is_json(run):
    """Printed for a file."""
    code, out, _ = run("schema")

    assert (0, "ebpf-sidecar configuration") == (code, json.loads(out)["title"])


@pytest.mark.parametrize("duration", ["5", "soon", "0s", "-1s"])
def test_record_refuses_what_is_no_duration(run, duration):
    """Before anything is started."""
    code, out, err = run("record", "--output", "x", "--duration", duration, text=BRANCHED)

    assert (2, "") == (code, out)
    assert "Invalid value for --duration" in err
    assert not Path("x").exists()


def test_record_passes_its_options_on(run, monkeypatch):
    """Configuration, file and seconds; progress goes to standard error."""
    asked = []

    def record(config, output, seconds, *, plugins, progress):
        asked.append((len(config.receivers), output, seconds))
        progress("half")

    monkeypatch.setattr("ebpf_sidecar.pipeline.recording.record.record", record)

    assert (0, "", "half\n") == run("record", "-o", "out.rec", "--duration", "1m30s", text=BRANCHED)
    assert [(2, Path("out.rec"), 90.0)] == asked
