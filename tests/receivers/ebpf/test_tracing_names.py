# SPDX-License-Identifier: Apache-2.0
"""The names by which BCC, of whatever version, finds a function are those of the functions that probes ask for."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.receivers.ebpf.probe_file import find_probes, read_probe
from ebpf_sidecar.receivers.ebpf.tracing_names import compiled_name, renaming, with_module

TESTS = Path(__file__).parents[2]
FOLDERS = [TESTS.parent / "bpf", TESTS / "kernel" / "probes"]
PREFIXES = {"fentry": "kfunc__", "fexit": "kretfunc__"}
NEWER = "MODULE_KFUNC_PROBE"


def resolved(name):
    """What bcc_prog_load_xattr() of BCC 0.28 to 0.37 makes of a program's name: module and function."""
    for prefix in PREFIXES.values():
        if name.startswith(prefix):
            module, end, function = name.removeprefix(prefix).partition("__")
            assert end, "copied to the end of memory"
            return module, function
    return None


@given(st.from_regex(r"_{0,3}[a-z][a-z0-9_]{0,20}", fullmatch=True), st.sampled_from(["fentry", "fexit"]))
def test_newer_versions_find_each_function_in_the_kernel_itself(function, attach):
    """Also those that begin with two underscores, or have two inside."""
    assert resolved(with_module(PREFIXES[attach] + function)) == ("vmlinux", function)


@pytest.mark.parametrize("path", [path for folder in FOLDERS for path in find_probes([folder]).values()], ids=str)
def test_newer_versions_find_what_our_probes_ask_for(path):
    """And leave all other names alone."""
    for way in (way for hook in read_probe(path).hooks for way in hook.alternatives):
        expected = ("vmlinux", way.event) if way.attach in PREFIXES else None

        assert resolved(with_module(way.program)) == expected


@pytest.mark.parametrize(
    ("flags", "expected"),
    [([], "int kfunc____fput(u64 *passed);"), ([f"-D{NEWER}"], "int kfunc__vmlinux____fput(u64 *passed);")],
    ids=["older", "newer"],
)
def test_the_headers_of_bcc_decide_which_name_a_program_gets(flags, expected):
    """Its version need not tell: sources that are built by hand have any."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler (cc) is installed")
    text = "\n".join([*renaming(["kfunc____fput", "count", "kfunc____fput"]), "int kfunc____fput(u64 *passed);", ""])

    done = subprocess.run(["cc", "-E", "-P", *flags, "-"], input=text, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == expected


def test_nothing_is_renamed_where_nothing_hooks_functions():
    """The compiler's text stays as short as it was."""
    assert renaming(["count"]) == []


@pytest.mark.parametrize(
    ("has", "expected"), [("kfunc__vmlinux__f", "kfunc__vmlinux__f"), ("kfunc__f", "kfunc__f")], ids=["newer", "older"]
)
def test_a_program_is_loaded_by_the_name_that_it_got(has, expected):
    """Of the two, the one that was compiled."""
    assert compiled_name("kfunc__f", {has}.__contains__) == expected
