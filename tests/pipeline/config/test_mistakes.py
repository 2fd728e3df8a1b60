# SPDX-License-Identifier: Apache-2.0
"""Every wrong configuration is a file named after its mistake, with the expected message beside it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ebpf_sidecar.pipeline.config.load import InlineSource, load
from ebpf_sidecar.pipeline.errors import ConfigError

WRONG = Path(__file__).parents[2] / "data" / "configs" / "wrong"
ENVIRON = {
    "NUMBER": "0123",
    "WORD": "many",
    "BOOLEAN": "false",
    "CIRCLE": "a ${CIRCLE}",
    "DOUBLING": "${A}${A}",
    **{
        first: f"${{{then}}}${{{then}}}"
        for first, then in zip("ABCDEFGHIJKLMNOPQRST", "BCDEFGHIJKLMNOPQRSTU", strict=True)
    },
    "U": "x" * 1000,
}


def messages(file: Path, plugins) -> str:
    """The messages for the user of the file."""
    with pytest.raises(ConfigError) as caught:
        load([InlineSource(file.read_bytes(), file.name)], [], plugins, ENVIRON)
    return "".join(f"{mistake}\n" for mistake in caught.value.mistakes)


def test_mistakes_are_reported_with_place_and_remedy(plugins, goldens):
    """The messages for each wrong file are the reviewed ones."""
    files = sorted(WRONG.glob("*.yaml"))

    assert 50 < len(files)
    goldens({file.with_suffix(".txt"): messages(file, plugins) for file in files})


def test_messages_follow_the_house_style():
    """Each message says what to do after a semicolon, ends without a full stop, and quotes no pydantic and no path."""
    files = sorted(WRONG.glob("*.txt"))
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]

    assert [] == [file.name for file in files if not file.with_suffix(".yaml").exists()]
    assert [] == [line for line in lines if "; " not in line or line.endswith(".")]
    assert [] == [line for line in lines if re.search(r"pydantic|Input should|ValueError|Traceback|/home|/work", line)]


def test_secrets_do_not_appear_in_messages(plugins):
    """No value of a secret setting is repeated to the terminal."""
    text = messages(WRONG / "secrets_stay_secret.yaml", plugins)

    assert not re.search("hunter2|42424242|31313131", text)


def test_all_mistakes_are_found_in_one_run(plugins):
    """A file with mistakes in every section yields them all, in the order of the file."""
    text = messages(WRONG / "everything_at_once.yaml", plugins)
    lines = [int(line.split(":")[1]) for line in text.splitlines()]

    assert 12 == len(lines)
    assert sorted(lines) == lines


def test_a_message_is_one_line_that_does_not_steer_a_terminal(plugins):
    """Whatever characters a file holds."""
    text = r'{receivers: "\e[31m\n\u2028\0", exporters: {"a\rb": 1}}'
    with pytest.raises(ConfigError) as caught:
        load([InlineSource(text.encode(), "f")], ["x\n=1"], plugins, {})

    assert r'"\x1b[31m\n\u2028\x00" is not a mapping' in str(caught.value)
    assert all(str(mistake).isprintable() for mistake in caught.value.mistakes)
