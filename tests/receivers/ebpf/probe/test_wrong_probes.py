# SPDX-License-Identifier: Apache-2.0
"""Every wrong probe is a file named after its mistake, with the expected message beside it."""

import json
import re
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from strategies import mutated, mutations

from ebpf_sidecar.pipeline.errors import ConfigError
from ebpf_sidecar.receivers.ebpf.probe.file import read_probe

BPF = Path(__file__).parents[4] / "bpf"
PROBES = Path(__file__).parents[3] / "data" / "probes"
WRONG = sorted((PROBES / "wrong").glob("*.yaml"))
MESSAGES = sorted((PROBES / "wrong").glob("*.txt"))


def mistakes_in(file):
    """The messages for the author of the file, which is named as on the command line."""
    with pytest.raises(ConfigError) as caught:
        read_probe(file)
    return "".join(f"{mistake}\n" for mistake in caught.value.mistakes).replace(f"{file}:", f"{file.name}:")


def test_the_probe_from_which_the_wrong_ones_are_made_is_right():
    """So that each of them has no other mistake than the one in its name."""
    assert ["work.done", "work.duration"] == [metric.name for metric in read_probe(PROBES / "right.yaml").metrics]


@pytest.mark.parametrize("file", WRONG, ids=lambda file: file.stem)
def test_a_mistake_is_named_with_its_place_and_a_repair(file, golden):
    """The messages for a wrong file are the reviewed ones."""
    golden(file.with_suffix(".txt"), mistakes_in(file))


def test_messages_keep_the_style_of_the_house():
    """Each has a place and says what to do, and none quotes pydantic."""
    lines = [line for file in MESSAGES for line in file.read_text(encoding="utf-8").splitlines()]

    assert [file.stem for file in WRONG] == [file.stem for file in MESSAGES]
    assert [] == [line for line in lines if "; " not in line or line.endswith(".")]
    assert [] == [line for line in lines if not re.match(r"\w+\.yaml:(\d+:\d+:)? ", line)]
    assert [] == [line for line in lines if re.search(r"pydantic|Input should|ValueError|Shape", line)]


@pytest.mark.parametrize("name", ["missing_keys", "numbers_that_are_none", "unknown_keys"])
def test_all_mistakes_are_named_at_once(name):
    """Nobody likes to mend a file five times; they come in the order of the file."""
    lines = [int(line.split(":")[1]) for line in mistakes_in(PROBES / "wrong" / f"{name}.yaml").splitlines()]

    assert len(lines) >= 5
    assert sorted(lines) == lines


def test_a_file_that_is_not_there_is_named(tmp_path):
    """With what to check."""
    with pytest.raises(ConfigError, match=r"gone\.yaml: cannot be read: no such file or directory; check the path"):
        read_probe(tmp_path / "gone.yaml")


WHOLE = {name: yaml.safe_load((BPF / f"{name}.yaml").read_text()) for name in ("memory", "page_faults")}


@pytest.mark.parametrize("dump", [json.dumps, yaml.safe_dump], ids=["as JSON", "as YAML"])
@given(probe=st.sampled_from(list(WHOLE)), changes=st.lists(mutations(), min_size=1, max_size=3))
def test_whatever_a_probes_file_holds_it_is_read_or_every_mistake_is_named(tmp_path_factory, dump, probe, changes):
    """Any odd value anywhere: there is no other error than ours. JSON has no whole numbers as keys."""
    document = WHOLE[probe]
    for way, odd in changes:
        document = mutated(document, way, odd)
    path = tmp_path_factory.mktemp("probes") / f"{probe}.yaml"
    path.write_text(dump(document))
    with suppress(ConfigError):
        read_probe(path)
