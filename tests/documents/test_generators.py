# SPDX-License-Identifier: Apache-2.0
"""What the documents are made with: a sample that is true anywhere, and text that reads well."""

import subprocess

from documents.sample import page, sample
from documents.settings import settings_rows
from documents.text import bullets, first_sentence, prose, sentence, table
from pydantic import Field

from ebpf_sidecar.pipeline.settings import Duration, Settings

WIDTH = 120


class Inner(Settings):
    depth: int = Field(default=1, ge=0, le=9)
    """how deep"""


class Outer(Settings):
    wait: Duration = 90.0
    """How long."""
    names: tuple[str, ...]
    """Which."""
    inner: Inner | None = None
    """A part."""


def test_settings_are_shown_as_a_user_reads_and_writes_them():
    """Durations with units, limits, required settings, and nested ones with their path."""
    expected = [
        ("`wait`", "duration", "`1m30s`", "How long."),
        ("`names`", "list of text", "required", "Which."),
        ("`inner`", "mapping or null", "`null`", "A part."),
        ("`inner::depth`", "whole number, at least 0, at most 9", "`1`", "How deep."),
    ]

    assert expected == list(settings_rows(Outer))


def test_the_sample_is_what_the_command_prints(tmp_path):
    """The README's own command, with the page of the recording in curl's place."""
    lines = sample().strip().splitlines()[1:-1]
    command, printed = "\n".join(lines[:3]).removeprefix("$ "), "\n".join(lines[3:])
    (tmp_path / "page").write_text(page(), encoding="utf-8")
    piped = command.replace("curl -s 127.0.0.1:18080/metrics", "cat page")
    done = subprocess.run(["bash", "-c", piped], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert command != piped
    assert 3 <= len(lines[3:]) <= 12
    assert printed == done.stdout.strip()


def test_the_sample_is_the_same_every_time():
    """No clock of this machine and no order of threads has a part in it."""
    assert page() == page()


def test_tables_are_aligned_and_keep_their_columns():
    """A bar inside a cell does not make another one."""
    expected = "| a   | b   |\n| --- | - |\n| xyz | 1\\|2 |".replace("| b   |", "| b |")

    assert expected == table(("a", "b"), [("xyz", "1|2")])


def test_docstrings_become_prose():
    """Examples are fenced, words are in code style, and angle brackets are not HTML."""
    docstring = "Does ``this`` <so>.\n\n    rate:\n      a: 1\n\n    other: {}\n\n* ``x``: y"

    assert "Does `this` \\<so>.\n\n```yaml\nrate:\n  a: 1\n\nother: {}\n```\n\n* `x`: y" == prose(docstring)
    assert "Does `this` \\<so>." == first_sentence(docstring)


def test_descriptions_become_sentences():
    """Names keep their case, and lists are wrapped."""
    assert ["A thing.", "gRPC it is.", ""] == [sentence("a thing"), sentence("gRPC it is"), sentence(" ")]
    assert ["A. (B.)", "A (b)."] == [sentence("a. (B.)"), sentence("a (b)")]
    assert all(len(line) <= WIDTH for line in bullets(["word " * 80]).splitlines())
    assert 4 == len(bullets(["word " * 80]).splitlines())
