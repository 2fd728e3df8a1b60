# SPDX-License-Identifier: Apache-2.0
"""The shape of the house: links, names, sizes, licences."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

import ebpf_sidecar

ROOT = Path(__file__).parents[1]
FOLDERS = ("pipeline", "receivers", "processors", "exporters", "bpf")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
BENCHES = sorted((ROOT / "bench").rglob("*.py"))
PROGRAMS = sorted(path for folder in ("bpf", "bench") for path in (ROOT / folder).rglob("*.[ch]"))
LONGEST_FILE, LONGEST_FUNCTION = 300, 40


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_folder_is_linked_below_the_one_owned_name(folder):
    """``ebpf_sidecar.<folder>`` is the folder at the top, not a copy."""
    assert (ROOT / folder).resolve() == (ROOT / ".src/ebpf_sidecar" / folder).resolve()
    assert (Path(ebpf_sidecar.__file__).parent / folder).is_dir()


def imports(path):
    """The absolute modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module


@pytest.mark.parametrize("path", [*SOURCES, *TESTS, *BENCHES], ids=lambda p: str(p.relative_to(ROOT)))
def test_nobody_imports_a_folder_by_its_short_name(path):
    """``import pipeline`` would make a second copy of each class."""
    assert not [name for name in imports(path) if name.split(".")[0] in FOLDERS]


def test_only_the_loader_imports_bcc():
    """The process that runs for months holds no compiler."""
    users = [path.name for path in SOURCES if any(name.split(".")[0] == "bcc" for name in imports(path))]

    assert ["loader.py"] == users


@pytest.mark.parametrize("path", [*SOURCES, *BENCHES], ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_are_small(path):
    """What does not fit on a screen or two has more than one idea."""
    text = path.read_text()
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]

    assert len(text.splitlines()) <= LONGEST_FILE
    assert [] == [f.name for f in functions if f.end_lineno - f.lineno >= LONGEST_FUNCTION]


@pytest.mark.parametrize(
    "path",
    [*TESTS, *PROGRAMS],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_tests_and_programs_for_the_kernel_are_small_too(path):
    """They are read as often."""
    assert len(path.read_text().splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_names_say_what_is_inside(path):
    """A file that could be called utils has no idea of its own."""
    assert not re.search(r"util|helper|common|^base|manager", path.stem)


def test_every_source_file_names_its_licence():
    """Apache-2.0 for all but the C files and probe descriptions, which the kernel wants GPL-compatible."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    files = [ROOT / name for name in listed.split("\0") if name.endswith((".py", ".c", ".h"))]
    paths = [path for path in (files or SOURCES) if path.exists() and "plugin_example" not in path.parts]

    assert [] == [str(path) for path in paths if "SPDX-License-Identifier:" not in path.read_text()[:200]]
