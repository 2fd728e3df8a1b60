# SPDX-License-Identifier: Apache-2.0
"""Who may import whom: arrows between folders are listed here, and nowhere is there a circle.

Imports inside functions and for type checkers count, too.
"""

import ast
import re
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "ebpf_sidecar"
FOLDERS = ("pipeline", "receivers", "processors", "exporters", "bpf")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
BENCHES = sorted((ROOT / "bench").rglob("*.py"))
PROGRAMS = sorted(path for suffix in "ch" for path in (ROOT / "bpf").glob(f"*.{suffix}"))
EBPF = "receivers/ebpf"
# a folder, or a file that stands above the folders beside it: what it imports besides its own folder
WINGS = {
    "bpf": {"pipeline"},
    "exporters": {
        "exporters/exposition", "exporters/otlp_encoding", "exporters/otlp_transport", "exporters/printing",
        "exporters/skywalking", "pipeline",
    },
    "exporters/exposition": {"pipeline", "pipeline/cardinality"},
    "exporters/otlp_encoding": {"pipeline"},
    "exporters/otlp_transport": {"exporters/otlp_encoding", "pipeline"},
    "exporters/printing": {"pipeline"},
    "exporters/skywalking": {"exporters/otlp_transport", "pipeline"},
    "pipeline": {"pipeline/process"},
    "pipeline/cardinality": {"pipeline"},
    "pipeline/cli": {
        "pipeline", "pipeline/config", "pipeline/process", "pipeline/recording", "pipeline/running",
        "pipeline/telemetry",
    },
    "pipeline/config": {"pipeline", "pipeline/http", "pipeline/process"},
    "pipeline/extensions": {"pipeline", "pipeline/http", "pipeline/storage"},
    "pipeline/http": {"pipeline", "pipeline/telemetry"},
    "pipeline/process": set(),
    "pipeline/recording": {"pipeline", "pipeline/config", "pipeline/running", "pipeline/telemetry"},
    "pipeline/running": {
        "pipeline", "pipeline/config", "pipeline/http", "pipeline/process", "pipeline/sending", "pipeline/telemetry",
    },
    "pipeline/sending": {"pipeline"},
    "pipeline/storage": {"pipeline", "pipeline/process"},
    "pipeline/telemetry": {"pipeline"},
    "processors": {"pipeline", "pipeline/process"},
    "receivers": {"pipeline", "pipeline/recording", "receivers/otlp_serving"},
    "receivers/otlp_decoding": {"pipeline"},
    "receivers/otlp_serving": {"pipeline", "receivers/otlp_decoding"},
    EBPF: set(),
    f"{EBPF}/kernel": {"pipeline/process"},
    f"{EBPF}/probe": {"pipeline", "pipeline/config"},
    f"{EBPF}/maps": {"pipeline", f"{EBPF}/kernel"},
    f"{EBPF}/owners": {"pipeline", f"{EBPF}/kernel", f"{EBPF}/maps"},
    f"{EBPF}/frames": {"pipeline", f"{EBPF}/kernel", f"{EBPF}/maps", f"{EBPF}/owners", f"{EBPF}/probe"},
    f"{EBPF}/loading": {
        "pipeline", "pipeline/config", f"{EBPF}/kernel", f"{EBPF}/maps", f"{EBPF}/owners", f"{EBPF}/probe",
    },
    f"{EBPF}/loader": {"pipeline/process", f"{EBPF}/kernel", f"{EBPF}/loading", f"{EBPF}/probe"},
    f"{EBPF}/watch": {
        "pipeline", "pipeline/process", f"{EBPF}/frames", f"{EBPF}/kernel", f"{EBPF}/loader", f"{EBPF}/loading",
        f"{EBPF}/maps", f"{EBPF}/owners", f"{EBPF}/probe",
    },
    f"{EBPF}/settings": {
        "pipeline", "pipeline/config", f"{EBPF}/loader", f"{EBPF}/loading", f"{EBPF}/owners", f"{EBPF}/probe",
    },
    f"{EBPF}/collection": {
        "pipeline", f"{EBPF}/frames", f"{EBPF}/kernel", f"{EBPF}/loading", f"{EBPF}/maps", f"{EBPF}/owners",
        f"{EBPF}/probe", f"{EBPF}/settings", f"{EBPF}/watch",
    },
    f"{EBPF}/doctor": {
        "pipeline", "pipeline/process", f"{EBPF}/kernel", f"{EBPF}/loader", f"{EBPF}/loading", f"{EBPF}/owners",
        f"{EBPF}/probe", f"{EBPF}/settings",
    },
    f"{EBPF}/receiver": {
        "pipeline", f"{EBPF}/collection", f"{EBPF}/doctor", f"{EBPF}/kernel", f"{EBPF}/loading", f"{EBPF}/maps",
        f"{EBPF}/metrics", f"{EBPF}/probe", f"{EBPF}/settings", f"{EBPF}/watch",
    },
    f"{EBPF}/metrics": {"pipeline", f"{EBPF}/probe", f"{EBPF}/watch"},
    f"{EBPF}/selftest": {
        "pipeline", "pipeline/cli", "pipeline/config", "pipeline/process", f"{EBPF}/frames", f"{EBPF}/kernel",
        f"{EBPF}/loading", f"{EBPF}/maps", f"{EBPF}/owners", f"{EBPF}/probe", f"{EBPF}/settings", f"{EBPF}/watch",
    },
    f"{EBPF}/selftest/workloads": set(),
}  # fmt: skip


def module_of(path):
    """``ebpf_sidecar.pipeline.frame`` of ``pipeline/frame.py``."""
    parts = (PACKAGE, *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in SOURCES}


@cache
def imports(path):
    """What a file imports of the product: the module in full, the name of it, and how many dots it was written with."""
    return list(_imports(path))


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "", 0) for alias in node.names if alias.name.startswith(f"{PACKAGE}."))
        if isinstance(node, ast.ImportFrom) and (node.level or node.module.startswith(PACKAGE)):
            package = ".".join((PACKAGE, *path.relative_to(ROOT).parts[: -node.level])) if node.level else ""
            module = ".".join(filter(None, (package, node.module)))
            yield from ((module, alias.name, node.level) for alias in node.names)


def imported(path):
    """The files that a file imports."""
    found = (MODULES.get(f"{module}.{name}", MODULES.get(module)) for module, name, _ in imports(path))
    return {each for each in found if each not in (None, path)}


def wing_of(path):
    """Its folder, unless the file is listed itself."""
    name = str(path.relative_to(ROOT).with_suffix(""))
    return name if name in WINGS else str(path.relative_to(ROOT).parent)


def circle(graph):
    """The first one that is found."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as found:
        return [str(each) for each in found.args[1]]
    return []


def test_folders_import_what_is_listed_and_nothing_else():
    """A new arrow is a decision: it is added to the list, or what it needs moves to where both may reach it."""
    actual = {wing_of(path): set() for path in SOURCES}
    for path in SOURCES:
        actual[wing_of(path)] |= {wing_of(each) for each in imported(path)} - {wing_of(path)}

    assert actual == WINGS


def test_the_pipeline_knows_no_component_and_components_know_no_other():
    """What the list above may say."""
    own = {name: name.split("/")[0] for name in WINGS}
    foreign = {name: {each for each in to if own[each] not in ("pipeline", own[name])} for name, to in WINGS.items()}

    assert {} == {name: each for name, each in foreign.items() if each}


def test_the_c_library_is_called_in_one_place():
    """So that failures look alike. Workloads of the selftest start without the product."""
    isolated = ROOT / EBPF / "selftest/workloads"
    callers = [path for path in SOURCES + BENCHES if "CDLL(None" in path.read_text() and path.parent != isolated]

    assert [ROOT / "pipeline/process/libc.py"] == callers


def test_there_is_no_circle():
    """Neither between folders nor between files, nor between what programs for the kernel include."""
    included = {path.name: re.findall(r'^#include "(.+)"', path.read_text(), re.MULTILINE) for path in PROGRAMS}

    assert [] == circle(WINGS)
    assert [] == circle({path: imported(path) for path in SOURCES})
    assert [] == circle(included)


def test_headers_include_each_other_at_the_top():
    """Later includes depend on the code above them, which is a hidden cycle."""
    late = r'^(?!#|/\*| \*|$).*\n(?:.*\n)*?#include "'

    assert [] == [path.name for path in PROGRAMS if re.search(late, path.read_text(), re.MULTILINE)]


def test_what_is_elsewhere_is_imported_by_its_full_name():
    """And modules in the same folder by a dot, so that every import shows whether it leaves the folder."""
    wrong = [
        (str(path.relative_to(ROOT)), module)
        for path in SOURCES
        for module, name, dots in imports(path)
        for target in [MODULES.get(f"{module}.{name}", MODULES.get(module))]
        if target and dots != int(target.parent == path.parent)
    ]

    assert [] == wrong
