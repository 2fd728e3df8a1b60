# SPDX-License-Identifier: Apache-2.0
"""Expressions of OAP's MAL are read as its parsers read them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from skywalking.mal import MalError, tokens
from skywalking.mal_tree import Arithmetic, Call, Closure, Dotted, Listing, Name, Negative, Number, Text, parse

NAMES = st.from_regex(r"[a-z]\w{0,8}", fullmatch=True).filter(str.isascii)
LEAVES = st.one_of(NAMES.map(Name), st.integers(0, 99).map(str).map(Number), NAMES.map(Text))


def grown(inner):
    """Trees with these as their parts."""
    return st.one_of(
        st.builds(Call, inner, NAMES, st.lists(inner, max_size=2).map(tuple)),
        st.builds(Arithmetic, st.sampled_from("+-*/"), inner, inner),
        st.lists(inner, max_size=2).map(tuple).map(Listing),
        st.builds(Negative, inner),
    )


def written(tree):
    """A tree as text, with every bracket."""
    match tree:
        case Name(text) | Number(text):
            return text
        case Text(text):
            return f"'{text}'"
        case Listing(items):
            return f"[{', '.join(map(written, items))}]"
        case Negative(value):
            return f"-({written(value)})"
        case Arithmetic(sign, left, right):
            return f"(({written(left)}) {sign} ({written(right)}))"
        case Call(target, name, arguments):
            return f"({written(target)}).{name}({', '.join(map(written, arguments))})"


@given(st.recursive(LEAVES, grown, max_leaves=8))
def test_what_is_written_is_read_again(tree):
    """Calls, arithmetic, lists and negative numbers, however they are nested."""
    assert tree == parse(written(tree))


@given(st.text(alphabet="ab1 .,'[](){}+-*/=<>", max_size=20))
def test_any_text_is_a_tree_or_a_mistake(text):
    """Nothing else is raised, and reading ends."""
    with suppress(MalError):
        assert parse(text)


def test_multiplication_binds_closer_and_equals_go_from_left_to_right():
    """As in arithmetic."""
    a, b, c = map(Name, "abc")

    assert Arithmetic("-", Arithmetic("-", a, b), Arithmetic("*", b, c)) == parse("a - b - b * c")


def test_closures_keep_their_words_also_those_in_inner_brackets():
    """They are read by those who know what they mean."""
    tree = parse("a.tag({tags -> tags.x = [tags['y']]})")

    assert isinstance(tree.arguments[0], Closure)
    assert "tags -> tags . x = [ tags [ y ] ]" == " ".join(word.text for word in tree.arguments[0].tokens)


def test_a_layer_is_a_name_behind_a_dot():
    """Beside lists of labels."""
    labels = Listing((Text("a"),))

    assert Call(None, "service", (labels, Dotted(Name("Layer"), "X"))) == parse("service(['a'], Layer.X)")


@pytest.mark.parametrize("text", ["a €", "a > 1", "a(b=1)", "a.", "a.sum(", "a b", "{ a", "[1 2]", ""])
def test_what_cannot_be_read_is_refused(text):
    """As it is where OAP starts."""
    with pytest.raises(MalError):
        parse(text)


def test_numbers_keep_the_form_in_which_they_are_written():
    """Of which one is not read by all releases."""
    assert ["1e3", "0.001"] == [word.text for word in tokens("1e3 0.001")]
