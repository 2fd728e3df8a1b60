# SPDX-License-Identifier: Apache-2.0
"""Nothing that lies in the user's current folder is run, by no command and by no child process (CWE-427)."""

import ast
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import ebpf_sidecar
from ebpf_sidecar.pipeline.process.import_path import safe_import_path
from ebpf_sidecar.pipeline.process.isolation import bare_python, python_code, python_module, start

ROOT = Path(__file__).parents[3]
TOP = Path(ebpf_sidecar.__file__).parents[1]
PLANTED = sorted({*sys.stdlib_module_names, "bcc", "click", "numpy", "pydantic", "waitress", "yaml", "ebpf_sidecar"})
# as pip writes it; its own folder is first on the path, the current one is not on it
SCRIPT = "import sys\nfrom ebpf_sidecar.pipeline.cli.main import main\nsys.exit(main())\n"
COMMANDS = [
    "check", "completion bash", "components", "doctor", "print-config", "schema", "version", "--help",
    "record --duration 100ms --output a.recording", "run", "selftest --quick --probe syscalls --folder .",
    "run --config relative.yaml",
]  # fmt: skip
REPLAY = """
receivers: {replay: {path: relative.recording, loop: false, collection_interval: "${file:interval}"}}
exporters: {debug: {}}
service: {pipelines: {metrics: {receivers: [replay], exporters: [debug]}}}
"""
STARTERS = re.compile(r"^(Popen|run|call|check_call|check_output|system|popen|fork\w*|exec[lv]\w*|(posix_)?spawn\w*)$")
MODULES = ("os", "posix", "subprocess", "pty", "multiprocessing")


@pytest.fixture
def hostile(tmp_path):
    """A folder where each module's name is taken by a file that leaves a mark, and what the user keeps there."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name in PLANTED:
        text = f"open({str(tmp_path / 'ran')!r}, 'a').write(__name__ + '\\n')\nraise SystemExit(99)\n"
        (folder / f"{name}.py").write_text(text)
    (folder / "relative.recording").write_bytes((ROOT / "receivers/recordings/default.recording").read_bytes())
    (folder / "interval").write_text("100ms")
    (folder / "relative.yaml").write_text(REPLAY)
    return folder


def ran(folder):
    """The planted modules that ran."""
    mark = folder.parent / "ran"
    return mark.read_text().split() if mark.exists() else []


@pytest.fixture
def command(tmp_path):
    """The command as it is installed, and its environment: the package is found as it is now, but by no other way."""
    script = tmp_path / "bin" / "ebpf-sidecar"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    return [sys.executable, str(script)], {**os.environ, "PYTHONPATH": str(TOP)}


@pytest.mark.parametrize("arguments", COMMANDS)
def test_no_command_runs_what_lies_in_the_current_folder(arguments, hostile, command):
    """Not in the process itself, not in the loader, the doctor's look for BCC, workloads, guards or canaries."""
    line, environment = command
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen([*line, *arguments.split()], cwd=hostile, env=environment, **streams) as process:
        said = []
        for text in process.stdout:
            said.append(text)
            if "ready: " in text:
                process.send_signal(signal.SIGTERM)

    assert [] == ran(hostile), "".join(said)
    assert process.returncode != 99
    assert "No module named" not in "".join(said)
    if "relative" in arguments:
        assert "ready: metrics" in "".join(said)


@pytest.mark.parametrize(
    "line", [python_code("import bcc"), python_module("ctypes.util"), bare_python("import json, ctypes, socket")]
)
def test_no_child_imports_from_the_current_folder(line, hostile, monkeypatch):
    """Whatever the environment says: -I takes no notice of it."""
    monkeypatch.chdir(hostile)
    monkeypatch.setenv("PYTHONPATH", f"{os.pathsep}{hostile}")
    with start(line, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL):
        pass

    assert [] == ran(hostile)


def test_the_trap_works(hostile):
    """An interpreter that does look into the current folder runs what was planted."""
    subprocess.run([sys.executable, "-c", "import ctypes"], cwd=hostile, check=False)

    assert ran(hostile)  # ctypes, or what Python 3.13 imports before it


def test_children_find_this_very_package_and_start_in_the_root():
    """Also where it is not installed; their input is empty."""
    code = "import ebpf_sidecar, json, os\nprint(json.dumps([ebpf_sidecar.__file__, os.getcwd(), sys.stdin.read()]))"
    with start(python_code(code), stdout=subprocess.PIPE) as child:
        said = json.loads(child.stdout.read())

    assert [ebpf_sidecar.__file__, "/", ""] == said


def test_the_import_path_has_no_current_folder_in_any_guise(tmp_path, monkeypatch):
    """Empty, relative, absolute and through a link; the rest keeps its order."""
    here, link, other = tmp_path / "here", tmp_path / "link", tmp_path / "other"
    here.mkdir()
    link.symlink_to(here)
    monkeypatch.chdir(here)

    assert [str(other), str(TOP), "/usr"] == safe_import_path(
        ["", str(here), ".", str(link), "lib", str(other), str(TOP), "/usr"]
    )


def test_the_package_is_kept_even_where_it_lies_in_the_current_folder(monkeypatch):
    """Its code runs already."""
    monkeypatch.chdir(TOP)

    assert [str(TOP), "/usr"] == safe_import_path(["", "/usr"])


def starts(path):
    """The calls in a file that start a process or become another program."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and STARTERS.match(node.func.attr):
            of = node.func.value
            if isinstance(of, ast.Name) and of.id in MODULES:
                yield f"{path.relative_to(ROOT)}: {of.id}.{node.func.attr}"
        if isinstance(node, ast.ImportFrom) and node.module in MODULES:
            yield from (f"{path.relative_to(ROOT)}: {a.name}" for a in node.names if STARTERS.match(a.name))
        if isinstance(node, ast.Import):
            yield from (f"{path.relative_to(ROOT)}: {a.name}" for a in node.names if a.name == "multiprocessing")


def test_every_process_is_started_in_the_one_place_that_isolates_it():
    """The broker runs command lines that were made there; a trial of the compiler starts no program, but copies the
    loader, which is isolated itself; and what workloads of the self-test do is what is measured."""
    folders = ("pipeline", "receivers", "processors", "exporters", "bpf")
    found = sorted(call for folder in folders for path in (ROOT / folder).rglob("*.py") for call in starts(path))

    assert [
        "pipeline/process/isolation.py: subprocess.Popen",
        "pipeline/running/broker_process.py: os.posix_spawn",
        "receivers/ebpf/loader/trial.py: os.fork",
        "receivers/ebpf/selftest/workloads/asking.py: os.fork",
        "receivers/ebpf/selftest/workloads/calls.py: os.fork",
        "receivers/ebpf/selftest/workloads/transfers.py: os.execv",
    ] == found
