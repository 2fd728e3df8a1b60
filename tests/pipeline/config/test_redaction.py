# SPDX-License-Identifier: Apache-2.0
"""Secrets do not get out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from ebpf_sidecar.pipeline.config.redaction import is_secret_name, redacted_by_type, redacted_tree, redacted_value
from ebpf_sidecar.pipeline.settings import Settings

NAMES = [
    "password",
    "PASSWORD",
    "api_key",
    "apiKey",
    "X-Api-Key",
    "Authorization",
    "client_secret",
    "accessToken",
    "db-passwd",
]


class Login(Settings):
    phrase: SecretStr | None = None


class Remote(Settings):
    open: str = ""
    hidden: SecretStr = SecretStr("")
    logins: list[Login] = []  # noqa: RUF012 - pydantic copies defaults
    by_host: dict[str, SecretStr] = {}  # noqa: RUF012 - same


@pytest.mark.parametrize("name", NAMES)
def test_names_of_secrets_are_known_in_any_spelling(name):
    """Upper case, camel case, dashes, prefixes."""
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["token_file", "passwords_path", "key", "tokenizer", "endpoint", "author", "compass", "monkey"]
)
def test_other_names_are_not(name):
    """Paths to secrets and similar words may be shown."""
    assert not is_secret_name(name)


@given(st.sampled_from(NAMES), st.text(alphabet="xyz0123456789", min_size=5), st.integers(0, 5))
def test_a_secret_is_masked_at_any_depth(name, secret, depth):
    """In mappings and in lists."""
    tree = {name: {"a": [secret]}} if depth % 2 else {name: secret}
    for _ in range(depth):
        tree = {"level": [tree]}

    assert secret not in str(redacted_tree(tree))
    assert "REDACTED" in str(redacted_tree(tree))


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("https://me:hunter2@example.org:1/x", "https://[REDACTED]@example.org:1/x"),
        ("https://me:hun@ter2@example.org", "https://[REDACTED]@example.org"),
        ("https://example.org/@x", "https://example.org/@x"),
        ("https://example.org/?a=1&access_token=hunter2&b=2", "https://example.org/?a=1&access_token=[REDACTED]&b=2"),
        ("host=x password=hunter2 port=1", "host=x password=[REDACTED] port=1"),
        ("Bearer hunter2", "Bearer [REDACTED]"),
        ("basic aHVudGVyMg==", "basic [REDACTED]"),
        ("bearer", "bearer"),
        ("127.0.0.1:18080", "127.0.0.1:18080"),
    ],
)
def test_secrets_inside_text_are_masked(text, seen):
    """User info of URLs, assignments and authorization schemes."""
    assert seen == redacted_value(text)


def test_pairs_of_name_and_value_are_understood():
    """Header lists are often written so."""
    headers = [{"name": "Authorization", "value": "hunter2"}, {"key": "X-Scope", "value": "me"}]

    assert ["[REDACTED]", "me"] == [header["value"] for header in redacted_tree(headers)]


def test_what_is_no_secret_stays_as_it_is():
    """Numbers, booleans and empty settings; whether a secret is set may be seen."""
    tree = {"a": 1, "b": [True, None], "password": None, "token": False, "url": "x"}

    assert tree == redacted_tree(tree)


def test_settings_declared_as_secret_are_masked_whatever_their_name():
    """By the settings class: optional ones, in lists and in mappings."""
    body = {
        "open": "a",
        "hidden": "b",
        "logins": [{"phrase": "c"}, {"phrase": None}],
        "by_host": {"x": "d"},
        "unknown": "e",
    }
    seen = redacted_by_type(body, Remote)

    assert {
        "open": "a",
        "hidden": "[REDACTED]",
        "logins": [{"phrase": "[REDACTED]"}, {"phrase": None}],
        "by_host": {"x": "[REDACTED]"},
        "unknown": "e",
    } == seen
