# SPDX-License-Identifier: Apache-2.0
import json
import re
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from strategies import mutated, mutations

from ebpf_sidecar.pipeline.errors import ProbeError
from ebpf_sidecar.receivers.ebpf.probe.file import find_probes, read_probe
from ebpf_sidecar.receivers.ebpf.probe.model import CALL_FIELDS, Slots, Spread, Sum

BPF = Path(__file__).parents[4] / "bpf"


@pytest.fixture
def changed(tmp_path):
    """The mistakes in the page_cache probe after ``change``."""

    def changed(change):
        document = yaml.safe_load((BPF / "page_cache.yaml").read_text())
        change(document)
        path = tmp_path / "page_cache.yaml"
        path.write_text(yaml.safe_dump(document))
        with pytest.raises(ProbeError) as caught:
            read_probe(path)
        return str(caught.value).splitlines()

    return changed


def test_what_a_probe_says_of_calls_has_the_order_of_the_kernels_struct():
    """The reader writes them as bytes when a probe is turned off; they are eight."""
    body = re.search(r"^struct call \{\n(.*?)^\};", (BPF / "thread.h").read_text(), re.MULTILINE | re.DOTALL)[1]

    assert [*CALL_FIELDS] == re.findall(r"^\s*u8 (\w+);", body, re.MULTILINE)


def test_probes_that_share_a_program_hook_it_in_the_same_ways():
    """It is attached once, for whichever probe comes first."""
    ways = {}
    for path in find_probes([BPF]).values():
        for hook in read_probe(path).hooks:
            ways.setdefault(hook.alternatives[0].program, set()).add((hook.name, hook.alternatives))
    shared = ("thread_ends", "program_changes", "name_changes", "call_returns", "call_enters")

    assert set(shared) <= ways.keys()
    assert dict.fromkeys(shared, 1) == {program: len(ways[program]) for program in shared}


def test_a_file_is_understood_once_and_anew_when_its_text_has_changed(tmp_path):
    """Each probe is read several times at startup, and nearly all of the time is spent in YAML."""
    path, text = tmp_path / "page_cache.yaml", (BPF / "page_cache.yaml").read_text()
    path.write_text(text)
    first, again = read_probe(path), read_probe(path)
    path.write_text(text.replace("stability: ", "stability: alpha  # "))

    assert first is again
    assert ("alpha", "alpha") != (first.stability, read_probe(path).stability)
    assert "alpha" == read_probe(path).stability


@pytest.mark.parametrize("name", sorted(find_probes([BPF])))
def test_every_shipped_probe_is_without_mistakes(name):
    """And documents itself."""
    probe = read_probe(BPF / f"{name}.yaml")

    assert name == probe.name
    assert all([probe.summary, probe.reading, probe.cost, probe.kernel, *(metric.reading for metric in probe.metrics)])


def test_the_page_cache_probe_reads_as_written():
    """Kinds of values, published names, defaults."""
    probe = read_probe(BPF / "page_cache.yaml")
    values = {metric.name: metric.value for metric in probe.metrics}

    assert "cache_stats_map" == probe.map("cache_stats").published
    assert "threads" == probe.map("threads").published
    assert (True, False) == (probe.map("read_ahead").array, probe.map("ranges").array)
    assert Sum(("misses",)) == values["ebpf.cache.misses"]
    assert Spread("adds", "cause", ("read", "write", "mmap", "other", "fill")) == values["ebpf.page_cache.adds"]


def test_a_histogram_says_where_its_bounds_begin():
    """256 ns for system calls."""
    value = next(each.value for each in read_probe(BPF / "syscalls.yaml").metrics if each.kind == "histogram")

    assert Slots("duration", "duration_sum", 8, 1e-9, value.default_exponents) == value


def put(path, value):
    """A change that sets what stands at ``path``, keys and positions with dots between."""

    def change(document):
        *folders, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        for part in folders:
            document = document[part]
        document[last] = value

    return change


@pytest.mark.parametrize(
    ("path", "value", "mistake"),
    [
        ("metric", 1, ': unknown key "metric"; did you mean "metrics"?'),
        ("metrics.0.kind", "count", '::metrics[0]::kind: unknown "count"; did you mean "counter"?'),
        ("metrics.1.map", "cache_stat", '::metrics[1]::map: unknown "cache_stat"; did you mean "cache_stats"?'),
        (
            "metrics.0.hooks",
            [],
            "::metrics[0]::hooks: must name the hooks that it depends on, or it would be 0 where none is attached",
        ),
        ("metrics.0.hooks.0", "page_ad", '::metrics[0]::hooks: unknown "page_ad"; did you mean "page_add"?'),
        (
            "metrics.0.value",
            {},
            '::metrics[0]::value: one of "sum", "spread", "histogram" and "distinct" is missing; add it',
        ),
        ("maps.0.entries", "many", '::maps[0]::entries: "many" must be a whole number'),
        ("maps.0.entries", -1, '::maps[0]::entries: "-1" must be a whole number, not negative'),
        ("hooks.1.name", "thread_end", '::hooks: "thread_end" occurs 2 times; keep one'),
        ("calls.0.names", "$nothing", '::calls[0]::names: unknown "$nothing"'),
        ("calls.0.set.cuse", 1, '::calls[0]::set: unknown key "cuse"; did you mean "cause"?'),
    ],
)
def test_a_mistake_is_named_with_its_path_and_a_repair(changed, path, value, mistake):
    """One mistake, one line."""
    assert [f"page_cache.yaml{mistake}"] == changed(put(path, value))


@pytest.mark.parametrize(
    ("canary", "mistake"),
    [
        ({"metric": "ebpf.cache.miss"}, '::metric: unknown "ebpf.cache.miss"; did you mean "ebpf.cache.misses"?'),
        ({"metric": "ebpf.page_cache.removes"},
         '::metric: "ebpf.page_cache.removes" does not depend on the hook "page_add"; name one that does'),
        ({"metric": "ebpf.page_cache.adds", "where": {"reason": "x"}}, '::where: unknown "reason"'),
        ({"where": {}}, ': "metric" is missing; add it'),
    ],
)  # fmt: skip
def test_the_metric_that_shows_a_hook_to_fire_depends_on_it(changed, canary, mistake):
    """Else it would prove nothing."""

    def shown(document):
        [hook] = [hook for hook in document["hooks"] if hook["name"] == "page_add"]
        hook["canary"] = {"action": "none", "reason": "for the test", "shown_by": canary}

    [found] = changed(shown)
    assert f"::canary::shown_by{mistake}" in found


def test_an_action_and_a_metric_that_shows_the_same_are_one_too_many(changed):
    """The action is the stronger evidence."""
    [mistake] = changed(put("hooks.0.canary", {"action": "process", "shown_by": {"metric": "ebpf.cache.misses"}}))

    assert mistake.endswith("the action shows whether the hook fires; remove one of them")


def test_an_event_is_written_with_its_category(changed):
    """Raw tracepoints as well, so that their presence can be looked up."""
    where = "hooks[0]::alternatives[0]::raw_tracepoint"

    assert [f'page_cache.yaml::{where}: "exit" must be written category:event'] == changed(
        put("hooks.0.alternatives.0.raw_tracepoint", "exit")
    )


def test_a_function_is_written_alone(changed):
    """It has no category."""

    def probe_function(document):
        document["hooks"][0]["alternatives"] = [{"kprobe": "mm:filemap_read", "program": "x"}]

    assert [
        'page_cache.yaml::hooks[0]::alternatives[0]::kprobe: "mm:filemap_read" must be the name of a function'
    ] == changed(probe_function)


@pytest.mark.parametrize(
    ("alternative", "mistake"),
    [
        ({"fentry": "a:b", "program": "x"}, 'fentry: "a:b" must be the name of a function'),
        ({"perf_event": "page_fault_maj", "program": "x"},
         'perf_event: "page_fault_maj" is unknown; did you mean "page_faults_maj"?'),
        ({"kprobe": "f", "program": "x", "until": "soon"}, 'until: "soon" must be a kernel release, as in "7.0"'),
    ],
)  # fmt: skip
def test_each_way_in_has_its_own_form(changed, alternative, mistake):
    """And the mistake is shown where it is."""

    def change(document):
        document["hooks"][0]["alternatives"] = [alternative]

    assert [f"page_cache.yaml::hooks[0]::alternatives[0]::{mistake}"] == changed(change)


def test_an_alternative_says_what_it_hooks(changed):
    """One of the kinds."""
    where = "hooks[0]::alternatives[0]"

    assert changed(put("hooks.0.alternatives", [{"program": "x"}]))[0] == (
        f'page_cache.yaml::{where}: one of "tracepoint", "raw_tracepoint", "kprobe", "kretprobe", "fentry", '
        '"fexit" and "perf_event" is missing; add what to hook'
    )


def test_all_mistakes_are_named_at_once(changed):
    """Nobody likes to mend a file five times."""

    def change(document):
        document["stability"] = "gold"
        document["maps"][0]["reasn"] = document["maps"][0].pop("reason")

    assert [
        'page_cache.yaml::stability: unknown "gold"; choose "alpha", "beta", "deprecated", "development" or "stable"',
        'page_cache.yaml::maps[0]: unknown key "reasn"; did you mean "reason"?',
        'page_cache.yaml::maps[0]: "reason" is missing; add it',
    ] == changed(change)


def test_a_file_that_is_no_yaml_is_a_probe_error(tmp_path):
    """With its path."""
    (tmp_path / "x.yaml").write_text("a: [")

    with pytest.raises(ProbeError, match=r"x.yaml: cannot be read"):
        read_probe(tmp_path / "x.yaml")


def test_a_probe_is_a_pair_and_the_first_folder_wins(tmp_path):
    """A YAML without C is no probe; a folder of the user's can replace a probe of ours."""
    (tmp_path / "page_cache.yaml").touch()
    (tmp_path / "page_cache.c").touch()
    (tmp_path / "lonely.yaml").touch()

    found = find_probes([tmp_path, BPF])

    assert tmp_path / "page_cache.yaml" == found["page_cache"]
    assert {"page_cache", "syscalls", "block_io", "block_waits", "memory", "page_faults"} == set(found)


WHOLE = {name: yaml.safe_load((BPF / f"{name}.yaml").read_text()) for name in ("memory", "page_faults")}


@given(probe=st.sampled_from(list(WHOLE)), changes=st.lists(mutations(), min_size=1, max_size=3))
def test_whatever_a_probes_file_holds_it_is_read_or_every_mistake_is_named(tmp_path_factory, probe, changes):
    """Any odd value anywhere: there is no other error than ours."""
    document = WHOLE[probe]
    for way, odd in changes:
        document = mutated(document, way, odd)
    path = tmp_path_factory.mktemp("probes") / f"{probe}.yaml"
    path.write_text(json.dumps(document))  # which is YAML, too
    with suppress(ProbeError):
        read_probe(path)


UNREADABLE = {
    "not UTF-8": b"\xff\xfe",
    "nested without end": b"[" * 5000,
    "no YAML": b"a: [",
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_file_that_is_no_yaml_is_named(tmp_path, case):
    """Whatever the bytes are."""
    path = tmp_path / "odd.yaml"
    path.write_bytes(UNREADABLE[case])

    with pytest.raises(ProbeError, match=r"odd\.yaml: cannot be read: "):
        read_probe(path)
