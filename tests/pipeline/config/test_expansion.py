# SPDX-License-Identifier: Apache-2.0
"""References in values: the Collector's grammar and typing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline.config.expansion import Expanded, expand, has_reference, read_text, unwrapped_tree
from ebpf_sidecar.pipeline.config.reference_syntax import escape, split_references
from ebpf_sidecar.pipeline.config.yaml_document import Document

ENVIRON = {
    "WORD": "plain",
    "NUMBER": "8080",
    "OCTAL": "0123",
    "HEX": "0xdeadbeef",
    "YES": "true",
    "QUOTED": '"0123"',
    "TAGGED": "!!str 0123",
    "EMPTY": "",
    "LIST": "[prometheus, debug]",
    "MAP": "{env: '${NUMBER}', text: 'a ${NUMBER}'}",
    "NO_YAML": "a: b: c",
    "COMMENT": "true # see ${env:hello.world}",
    "INDIRECT": "${env:OCTAL}",
    "WRAPPED": "The ${env:WORD} one",
    "ONE_DOLLAR": "here is 1 $$",
    "TWO_DOLLARS": "here are 2 $$$",
    "NAME": "WORD",
}


def expanded(value, read=read_text):
    """The expanded value; there must be no mistake."""
    tree, mistakes = expand(Document(value), ENVIRON, read)

    assert [] == mistakes
    return tree


@pytest.mark.parametrize(
    ("text", "value", "original"),
    [
        ("${env:NUMBER}", 8080, "8080"),
        ("${NUMBER}", 8080, "8080"),
        ("${env:OCTAL}", 83, "0123"),
        ("${env:HEX}", 3735928559, "0xdeadbeef"),
        ("${env:YES}", True, "true"),
        ("${env:EMPTY}", None, ""),
        ("${env:LIST}", ["prometheus", "debug"], "[prometheus, debug]"),
        ("${env:INDIRECT}", 83, "0123"),
        ("${env:UNSET:-0123}", 83, "0123"),
        ("${env:UNSET:-{a: 1}}", {"a": 1}, "{a: 1}"),
        ("${env:UNSET:-${env:ALSO:-${OCTAL}}}", 83, "0123"),
        ("${env:COMMENT}", True, "true # see ${env:hello.world}"),
    ],
)
def test_a_whole_value_takes_the_type_of_yaml_and_keeps_the_text(text, value, original):
    """As the Collector's strict typing (its confmap end-to-end tests) has it."""
    tree = expanded(text)

    assert Expanded(value, original) == Expanded(unwrapped_tree(tree), tree.original)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${env:WORD}", "plain"),
        ("${env:QUOTED}", '"0123"'),
        ("${env:TAGGED}", "!!str 0123"),
        ("${env:NO_YAML}", "a: b: c"),
        ("${env:EMPTY:-full}", "full"),
        ("${env:UNSET:-}", ""),
        ("${env:UNSET:-http://x:80/}", "http://x:80/"),
        ("${UNSET:-a:-b}", "a:-b"),
        ("port ${env:OCTAL}", "port 0123"),
        ("${WORD}${WORD}", "plainplain"),
        ("is ${env:QUOTED}", 'is "0123"'),
        ("is ${env:LIST}", "is [prometheus, debug]"),
        ("is ${env:EMPTY}.", "is ."),
        ("in ${env:INDIRECT}", "in 0123"),
        ("${env:WRAPPED}", "The plain one"),
        ("<${env:WRAPPED}>", "<The plain one>"),
        ("${env:${env:NAME}}", "plain"),
        ("${env:${UNSET:-NUMBER}x:-y}", "y"),
        ("$$", "$"),
        ("$", "$"),
        ("$HOME", "$HOME"),
        ("a$", "a$"),
        ("$${env:WORD}", "${env:WORD}"),
        ("$$${env:WORD}", "$plain"),
        ("$$$${env:WORD}", "$${env:WORD}"),
        ("$${1}/${env:WORD}", "${1}/plain"),
        ("${env:ONE_DOLLAR}", "here is 1 $"),
        ("${env:TWO_DOLLARS}", "here are 2 $$"),
        ("{${env:WORD}}", "{plain}"),
    ],
)
def test_text_is_text(text, value):
    """Text that YAML reads as text, and references inside text, are put in as they are."""
    assert value == expanded(text)


def test_structures_from_variables_are_expanded_in_depth():
    """A variable may hold a mapping with references of its own."""
    assert {"env": 8080, "text": "a 8080"} == unwrapped_tree(expanded("${env:MAP}"))


def test_keys_are_never_expanded():
    """Only values are, as in the Collector."""
    assert {"${env:WORD}": ["plain"]} == expanded({"${env:WORD}": ["${env:WORD}"]})


def test_a_file_is_yaml_as_a_value_and_text_inside_text(tmp_path):
    """Its last line break, which an editor added, does not count."""
    body, token = tmp_path / "body.yaml", tmp_path / "token"
    body.write_text("verbosity: ${env:WORD}\n")
    token.write_text("s3cret\r\n")

    assert {"verbosity": "plain"} == unwrapped_tree(expanded(f"${{file:{body}}}"))
    assert "s3cret" == expanded(f"${{file:{token}}}")
    assert "Bearer s3cret" == expanded(f"Bearer ${{file:{token}}}")
    assert "s3cret" == expanded(f"${{file:{tmp_path}/${{UNSET:-token}}}}")


def test_a_file_that_is_no_text_is_a_mistake(tmp_path):
    """Only UTF-8 can be put into a configuration."""
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    tree, [mistake] = expand(Document(f"${{file:{tmp_path}/key}}"), {})

    assert (None, f'"{tmp_path}/key" is not UTF-8; save it as UTF-8') == (tree, mistake.message)


def test_an_unneeded_default_is_not_evaluated():
    """Errors in an unused default are not mistakes."""
    assert "plain" == expanded("${WORD:-${env:UNSET}}")


def test_long_chains_of_references_are_refused_and_short_ones_followed():
    """Each variable names the next; also where the names themselves are put together from variables."""
    chain = {f"C{n}": f"${{env:C{n + 1}}}" for n in range(600)} | {"C600": "end"}

    for text in ("${env:C0}", "a ${env:C0}", "${env:" * 60 + "C600" + "}" * 60):
        tree, [mistake] = expand(Document(text), chain)
        assert tree is None
        assert "; " in mistake.message
    assert "end" == expand(Document("${env:C560}"), chain)[0]


def test_nesting_of_structures_is_limited():
    """Each variable holds a list in lists, in which the next one stands."""
    chain = {f"C{n}": "[" * 9 + f"'${{env:C{n + 1}}}'" + "]" * 9 for n in range(40)} | {"C40": "end"}
    _, [mistake] = expand(Document("${env:C0}"), chain)

    assert "nested too deeply; write at most 50 levels" == mistake.message


def test_a_variable_that_is_not_utf8_is_a_mistake():
    """Python shows its bytes as halves of characters, which nothing later can write."""
    for text in ("${env:BAD}", "a ${env:BAD}"):
        tree, [mistake] = expand(Document(text), {"BAD": "\udcff"})
        assert (None, 'environment variable "BAD" is not UTF-8; set it to text in UTF-8') == (tree, mistake.message)


def test_a_hundred_thousand_open_references_are_one_short_message():
    """Neither quadratic, nor quoted in full."""
    for text in ("${" * 100_000, "${env:X:-" * 20_000 + "}" * 20_000):
        _, [mistake] = expand(Document(text), {})
        assert len(mistake.message) < 200


def test_unreadable_files_and_unset_variables_are_all_reported():
    """One bad reference does not hide another, and leaves null."""
    tree, mistakes = expand(Document({"a": "${env:UNSET}", "b": "x ${file:\0}", "c": ["${NUMBER}"]}), ENVIRON)

    assert ["a", "b"] == [mistake.path for mistake in mistakes]
    assert {"a": None, "b": None, "c": [8080]} == unwrapped_tree(tree)


@given(st.text())
def test_escaped_text_expands_to_itself(text):
    """Doubling every dollar is enough to write any text."""
    assert text == expanded(escape(text))


@given(st.text(alphabet=st.characters(exclude_characters="$", exclude_categories=["Cs"]).filter(lambda c: c != "\0")))
def test_a_variables_text_goes_into_text_unchanged(text):
    """Text without a dollar is inserted unchanged."""
    tree, mistakes = expand(Document("<${env:ANY}>"), {"ANY": text})

    assert ("<" + text + ">", []) == (tree, mistakes)


@given(st.text(alphabet="${}:-AENVenv \n\"'[]"))
def test_no_value_makes_expansion_fail(text):
    """Every text expands or is reported; neither raises."""
    tree, mistakes = expand(Document(text), {"A": text, "E": "${A}"})

    assert mistakes or has_reference(text) or "".join(piece for _, piece in split_references(text)) == tree


def test_references_are_seen_before_they_are_followed():
    """Escaped ones are none."""
    assert has_reference({"a": ["x", {"b": "in ${env:X}"}]})
    assert not has_reference("${unclosed")
    assert not has_reference({"${env:KEY}": ["$${env:X}", "$X", 5, None]})
