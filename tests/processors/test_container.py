# SPDX-License-Identifier: Apache-2.0
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline import ComponentKind, RowSet, Text
from ebpf_sidecar.pipeline.host import Paths
from ebpf_sidecar.pipeline.testing import check_contract, fake_context, frame
from ebpf_sidecar.processors.container import ContainerProcessor, ContainerSettings, register_components

[FACTORY] = register_components()
ID = "0a1b2c3d" * 8
UID = "12345678-90ab-cdef-1234-567890abcdef"
POD = f"/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice/cri-containerd-{ID}.scope"
BARE = f"/kubepods/burstable/pod{UID}/{ID}"
DOCKER = f"/docker/{ID}"
SERVICE = "/system.slice/web.service"
POD_WORDS = {"container.id": ID, "container.runtime.name": "containerd", "k8s.pod.uid": UID}


def made(tmp_path, names=None, **settings):
    """The processor, on an empty /proc unless the test filled one."""
    context = fake_context(ComponentKind.PROCESSOR, "container", paths=Paths(proc=tmp_path))
    return ContainerProcessor(ContainerSettings(**settings), context, names)


def described(processor, *cgroups):
    """The records of rows that only have a cgroup."""
    rows = RowSet.of([{"process.linux.cgroup": cgroup} for cgroup in cgroups])
    [out] = processor.process([frame("work.done", [1] * len(cgroups), rows)])
    return out.rows.records()


def test_the_contract_is_kept():
    """The processor behaves as every component must."""
    check_contract(FACTORY, {"keep_cgroup": True})


def test_rows_carry_their_container_and_pod(tmp_path):
    """Ids and runtime come from the path, which is removed if it says no more; services keep theirs."""
    expected = [
        POD_WORDS,
        {"container.id": ID, "k8s.pod.uid": UID},
        {"container.id": ID, "container.runtime.name": "docker"},
        {"process.linux.cgroup": SERVICE},
        {},
    ]

    assert expected == described(made(tmp_path), POD, BARE, DOCKER, SERVICE, "")


def test_the_cgroup_goes_when_no_row_needs_it(tmp_path):
    """If all rows are in containers, no empty column remains."""
    [out] = made(tmp_path).process([frame("work.done", [1], [{"process.linux.cgroup": POD}])])

    assert set(POD_WORDS) == set(out.rows.columns)


def test_the_cgroup_can_be_kept(tmp_path):
    """With keep_cgroup the path stays beside the ids."""
    assert [{"process.linux.cgroup": POD, **POD_WORDS}] == described(made(tmp_path, keep_cgroup=True), POD)


def test_groups_inside_one_container_stay_apart(tmp_path):
    """A receiver that does not reduce paths to containers gets no two rows that look the same."""
    inside = f"{POD}/app"

    assert [POD_WORDS, {"process.linux.cgroup": inside, **POD_WORDS}] == described(made(tmp_path), POD, inside)


def test_rows_about_no_container_are_passed_as_they_are(tmp_path):
    """Frames of devices or of host processes pass as the very same objects."""
    processor = made(tmp_path)
    frames = [frame("a", [1], [{"device": "sda"}]), frame("b", [1], [{"process.linux.cgroup": SERVICE}])]

    assert frames == list(processor.process(frames))


def test_a_shared_row_set_is_described_once_and_stays_shared(tmp_path):
    """All metrics of a probe, tick after tick, get the same new row set, so that what is kept for it stays valid."""
    processor = made(tmp_path)
    rows = RowSet.of([{"process.linux.cgroup": POD}])
    first, second = processor.process([frame("a", [1], rows), frame("b", [2], rows)])
    [later] = processor.process([frame("a", [3], rows)])

    assert first.rows is second.rows is later.rows


class PodNames:
    """A source of names that learns about a pod."""

    def __init__(self):
        self.generation = 1
        self.known = {}

    def attributes(self, container):
        return self.known.get(container.pod_uid, {})


def test_names_learned_later_reach_rows_described_before(tmp_path):
    """The seam for the Kubernetes API: a new generation describes the same row set again."""
    names = PodNames()
    processor = made(tmp_path, names)
    rows = RowSet.of([{"process.linux.cgroup": POD}, {"process.linux.cgroup": SERVICE}])
    [before] = processor.process([frame("a", [1, 2], rows)])
    names.known[UID] = {"k8s.pod.name": "web-0"}
    [cached] = processor.process([frame("a", [1, 2], rows)])
    names.generation += 1
    [after] = processor.process([frame("a", [1, 2], rows)])

    assert before.rows is cached.rows
    assert [{**POD_WORDS, "k8s.pod.name": "web-0"}, {"process.linux.cgroup": SERVICE}] == after.rows.records()


def test_a_cgroup_that_is_no_text_is_left_alone(tmp_path):
    """A foreign receiver's numbers in the column do no harm."""
    rows = RowSet.of([{"process.linux.cgroup": 23}])
    [out] = made(tmp_path).process([frame("a", [1], rows)])

    assert out.rows is rows


CGROUPS = st.sampled_from([POD, BARE, DOCKER, SERVICE, "/", "", f"{POD}/app", f"{DOCKER}/init.scope"]) | st.text()
NAMES = st.sampled_from(["sh", "measure-everyth", "measure-everything", ""]) | st.text(max_size=20)


@given(pairs=st.lists(st.tuples(CGROUPS, NAMES), unique=True), keep=st.booleans())
def test_enrichment_never_changes_rows_or_values(tmp_path_factory, pairs, keep):
    """As many rows, the same ids, the same values; rows that differed still differ."""
    cgroups, names = [Text.of(part) for part in zip(*pairs, strict=True)] if pairs else [Text.of([]), Text.of([])]
    rows = RowSet(range(7, 7 + len(pairs)), {"process.linux.cgroup": cgroups, "process.executable.name": names})
    before = frame("a", list(range(len(pairs))), rows)
    [after] = made(tmp_path_factory.getbasetemp(), keep_cgroup=keep).process([before])

    assert rows.ids.tolist() == after.rows.ids.tolist()
    assert before.values.tolist() == after.values.tolist()
    assert len({tuple(sorted(record.items())) for record in rows.records()}) == len(
        {tuple(sorted(record.items())) for record in after.rows.records()}
    )
