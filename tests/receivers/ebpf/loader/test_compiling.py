# SPDX-License-Identifier: Apache-2.0
"""What is compiled when some probe does not compile, with a compiler that is a set of names."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.receivers.ebpf.kernel.refusals import Failure, LoadProblem
from ebpf_sidecar.receivers.ebpf.loader.compiling import compile_working_probes
from ebpf_sidecar.receivers.ebpf.loading.refusal import LoadRefused
from ebpf_sidecar.receivers.ebpf.loading.request import HookRequest, LoadRequest, Part

NAMES = ("one", "two", "three")
REQUEST = LoadRequest(
    probes=NAMES,
    files=("one.c", "two.c", "three.c", "call.c"),
    headers="",
    hooks=tuple(HookRequest(name, "hook", ()) for name in NAMES),
    maps=("control", "calls", "one_stats", "two_stats", "three_stats"),
    macros={},
    btf=(),
    calls={0: {"follow": 1}},
    drop_reasons=(),
    parts={
        "one": Part(("one.c", "call.c"), ("calls", "one_stats")),
        "two": Part(("two.c", "call.c"), ("calls", "two_stats")),
        "three": Part(("three.c",), ("three_stats",)),
    },
)
WITH_OWN = replace(
    REQUEST,
    files=(*REQUEST.files, "new.c"),
    maps=(*REQUEST.maps, "new"),
    own_hooks=(HookRequest("", "made", ()),),
    own=Part(("new.c",), ("new",)),
)


def compiler(bad, failure=Failure.COMPILE):
    """One that refuses requests with a file of ``bad``, and gives back the files of others."""

    def compile_all(request):
        wrong = [file for file in request.files if file.removesuffix(".c") in bad]
        if wrong:
            raise LoadRefused(LoadProblem(failure, f"clang said:\n  {wrong[0]}:3:1: error: bad\n1 error generated"))
        return request.files

    return compile_all


@given(st.sets(st.sampled_from(NAMES), max_size=2))
def test_probes_that_compile_are_compiled_whatever_the_others(bad):
    """And each of the others has the compiler's message in one line."""
    done = compile_working_probes(REQUEST, compiler(bad))

    assert {name: f"probe {name} does not compile: {name}.c:3:1: error: bad" for name in bad} == done.broken
    assert [name for name in NAMES if name not in bad] == list(done.request.probes)
    assert not {f"{name}.c" for name in bad} & set(done.result)


def test_what_probes_share_stays_for_those_that_are_left():
    """Files, maps and the calls that shared programs follow."""
    two, three = (REQUEST.only([name]) for name in ("two", "three"))

    assert (("two.c", "call.c"), ("control", "calls", "two_stats"), {0: {"follow": 1}}) == (
        two.files,
        two.maps,
        two.calls,
    )
    assert (("three.c",), ("control", "three_stats"), {}) == (three.files, three.maps, three.calls)


def test_when_none_compiles_the_first_error_is_kept():
    """There is nothing to continue with."""
    with pytest.raises(LoadRefused, match=r"one\.c:3:1"):
        compile_working_probes(REQUEST, compiler(NAMES))


@pytest.mark.parametrize("bad", [set(), {"two"}])
@pytest.mark.parametrize("trial", [False, True])
def test_a_reader_program_that_does_not_compile_takes_no_probe_with_it(bad, trial):
    """It is left out with its hooks and maps, with the reason; probes that do not compile are reported as well."""
    compile_all = compiler({"new", *bad})
    done = compile_working_probes(WITH_OWN, compile_all, compile_all if trial else None)

    assert (bad, "it does not compile: new.c:3:1: error: bad") == (done.broken.keys(), done.own_broken)
    assert [name for name in NAMES if name not in bad] == list(done.request.probes)
    assert ((), False, False) == (done.request.own_hooks, "new" in done.request.maps, "new.c" in done.result)


def test_reader_programs_stay_where_they_compile():
    """Also where a probe does not, and after a trip through JSON."""
    done = compile_working_probes(LoadRequest.from_json(WITH_OWN.to_json()), compiler({"two"}))

    assert ("", WITH_OWN.own_hooks, WITH_OWN.own) == (done.own_broken, done.request.own_hooks, done.request.own)


def test_when_nothing_compiles_without_reader_programs_either_the_first_error_is_kept():
    """The one about all of it."""
    with pytest.raises(LoadRefused, match=r"one\.c:3:1"):
        compile_working_probes(WITH_OWN, compiler({"call", *NAMES}))


def test_other_refusals_are_passed_on_at_once():
    """Rights that are missing are missing for all."""
    with pytest.raises(LoadRefused) as caught:
        compile_working_probes(REQUEST, compiler({"one"}, Failure.RIGHTS))

    assert Failure.RIGHTS is caught.value.problem.failure
