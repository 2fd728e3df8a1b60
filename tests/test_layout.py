# SPDX-License-Identifier: Apache-2.0
"""The layout of the repository: links, names, sizes, licences."""

import ast
import re
from functools import cache
from pathlib import Path

import ebpf_sidecar

ROOT = Path(__file__).parents[1]
FOLDERS = ("pipeline", "receivers", "processors", "exporters", "bpf")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
BENCHES = sorted((ROOT / "bench").rglob("*.py"))
PROGRAMS = sorted(path for folder in ("bpf", "bench") for path in (ROOT / folder).rglob("*.[ch]"))
LONGEST_FILE, LONGEST_FUNCTION = 300, 40


def test_each_folder_is_linked_below_the_one_owned_name():
    """``ebpf_sidecar.<folder>`` is the folder at the top, not a copy."""
    links = {folder: ROOT / ".src/ebpf_sidecar" / folder for folder in FOLDERS}

    assert [] == [folder for folder, link in links.items() if link.resolve() != (ROOT / folder).resolve()]
    assert [] == [folder for folder in FOLDERS if not (Path(ebpf_sidecar.__file__).parent / folder).is_dir()]


@cache
def parsed(path):
    """A file's syntax tree."""
    return ast.parse(path.read_text())


def imports(path):
    """The absolute modules that a file imports."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module


def long_functions(path):
    """The names of a file's functions that are too long."""
    functions = (node for node in ast.walk(parsed(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return [each.name for each in functions if each.end_lineno - each.lineno >= LONGEST_FUNCTION]


def by_file(found):
    """What was found in each file, by its path in the tree; nothing for files in which nothing was."""
    return {str(path.relative_to(ROOT)): each for path, each in found if each}


def test_the_rules_below_apply_to_files():
    """An empty list of files would keep every rule."""
    assert all(5 < len(paths) for paths in (SOURCES, TESTS, BENCHES, PROGRAMS))


def test_no_file_imports_a_folder_by_its_short_name():
    """``import pipeline`` would make a second copy of each class."""
    short = ((path, [n for n in imports(path) if n.split(".")[0] in FOLDERS]) for path in SOURCES + TESTS + BENCHES)

    assert {} == by_file(short)


def test_one_file_imports_bcc():
    """The process that runs for months holds no compiler."""
    users = [path.name for path in SOURCES if any(name.split(".")[0] == "bcc" for name in imports(path))]

    assert ["bcc_compiler.py"] == users


def test_files_are_small():
    """What does not fit on a screen or two has more than one idea; tests and programs for the kernel are read as
    often."""
    lengths = ((path, len(path.read_text().splitlines())) for path in SOURCES + BENCHES + TESTS + PROGRAMS)

    assert {} == by_file((path, length) for path, length in lengths if length > LONGEST_FILE)


def test_functions_are_small():
    """Of the source and the benchmarks, for the same reason."""
    assert {} == by_file((path, long_functions(path)) for path in SOURCES + BENCHES)


def test_names_say_what_is_inside():
    """A file named utils has no subject of its own."""
    assert [] == [str(path) for path in SOURCES if re.search(r"util|helper|common|^base|manager", path.stem)]


def test_every_source_file_names_its_licence():
    """Apache-2.0 for all but the C files and probe descriptions, which the kernel wants GPL-compatible."""
    files = [*SOURCES, *TESTS, *BENCHES, *PROGRAMS, *(ROOT / ".ci").rglob("*.py"), *(ROOT / "tests").rglob("*.c")]
    paths = [path for path in files if "plugin_example" not in path.parts]

    assert [] == [str(path) for path in paths if "SPDX-License-Identifier:" not in path.read_text()[:200]]
