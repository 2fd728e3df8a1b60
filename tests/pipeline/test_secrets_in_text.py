# SPDX-License-Identifier: Apache-2.0
"""Secrets inside text are found, whatever they are made of, in time that grows as the text does."""

import re
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline.errors import ConfigError, Mistake, SidecarError, redacting
from ebpf_sidecar.pipeline.secrets_in_text import REDACTED, is_known_secret, known_secrets, redacted, redacted_value

PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_categories=["Cc", "Cs"]), min_size=6)
WORD = st.from_regex(r"[A-Za-z0-9+/=_.-]{8,40}", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("postgres://bob:a b/hunter2@db/x", "postgres://[REDACTED]@db/x"),
        ("postgres://bob:a/hunter2@db/x", "postgres://[REDACTED]@db/x"),
        ("postgres://bob:80/hunter2@db/x", "postgres://[REDACTED]@db/x"),
        ("a://b:c@d and e://f:g@h", "a://[REDACTED]@h"),
        ("http://host:8080/a and me@example.org", "http://host:8080/a and me@example.org"),
        ("http://[::1]:8080/", "http://[::1]:8080/"),
        ("http://127.0.0.1:18080/metrics", "http://127.0.0.1:18080/metrics"),
        ("password=a;hunter2", "password=[REDACTED]"),
        ("Server=db;Password=a b;Database=x", "Server=db;Password=[REDACTED];Database=x"),
        ("password = 'a b' user=me", "password = [REDACTED] user=me"),
        ("password=", "password="),
        ('{"user": "bob", "password": "hunter2"}', '{"user": "bob", "password": [REDACTED]'),
        ('{"password":"hunter2"}', '{"password":[REDACTED]'),
        ("Authorization: Bearer hunter2", "Authorization: [REDACTED]"),
        ("X-Api-Key: hunter2", "X-Api-Key: [REDACTED]"),
        ("curl -H 'Proxy: Bearer hunter2'", "curl -H 'Proxy: Bearer [REDACTED]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n", "-----BEGIN RSA PRIVATE KEY [REDACTED]"),
        ("-----BEGIN CERTIFICATE-----\nabc", "-----BEGIN CERTIFICATE-----\nabc"),
        ("ghp_0123456789abcdef", "[REDACTED]"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdefgh", "[REDACTED]"),
        ("bob:hunter2@tcp(db:3306)/x", "bob:[REDACTED]@tcp(db:3306)/x"),
        ("auth:8080", "auth:8080"),
        ("me@example.org", "me@example.org"),
        ("token_file=/x", "token_file=/x"),
    ],
)
def test_secrets_are_recognized_by_their_form(text, seen):
    """And what only looks alike."""
    assert seen == redacted_value(text)


@given(PRINTABLE)
def test_no_password_of_a_url_is_seen(secret):
    """Whatever it holds, but for what can only be read as a port and a path with a blank in it."""
    assume(not re.match(r"\d+[/?#\s\"']", secret) and not secret.isdigit())
    seen = redacted_value(f"amqp://bob:{secret}@db:5672/x")

    assert f"amqp://{REDACTED}@db:5672/x" == seen


@given(
    st.sampled_from(["password=%s", "x=1;Pwd=%s", '{"api_key": "%s"}', "secret: %s", "Cookie: %s", "Bearer %s"]), WORD
)
def test_no_named_secret_is_seen(form, secret):
    """As an assignment, in JSON, in headers."""
    assert secret not in redacted_value(form % secret)


@given(PRINTABLE, PRINTABLE, PRINTABLE)
def test_known_secrets_are_seen_nowhere(secret, before, after):
    """In values, messages and lines of the log."""
    assume(secret not in REDACTED)
    with known_secrets([secret]):
        texts = redacted_value(before + secret + after), redacted(before + secret + after)

        assert is_known_secret(secret)
    assert not is_known_secret(secret)
    assert not any(secret in text.replace(REDACTED, "\0") for text in texts)
    assert secret not in redacted(before + secret + after, [secret]).replace(REDACTED, "\0")


@given(
    st.text(max_size=200)
    | st.lists(st.sampled_from(["://", "a:", "@", "password=", "token: ", " ", "Bearer ", "x"])).map("".join)
)
def test_masking_twice_is_masking_once(text):
    """A masked text may be masked again on its way to the terminal."""
    assert redacted_value(text) == redacted_value(redacted_value(text))


@pytest.mark.parametrize(
    "piece",
    [
        "a-", "a.", "password", "password=", "password=x ", "token: ", "://", "://a:b", "http://a:1/", "a://b:c@", "@",
        "Bearer ", "eyJaaaaaaaaa", "eyJ/", "ghp_", "-----BEGIN ", "a:", "a:b@", "\"a\"", " ", "=", "passwordA", "x@y ",
    ],
)  # fmt: skip
def test_time_grows_as_the_text_does(piece):
    """A quarter of a megabyte, for which a pattern that looks at each pair of places takes many minutes."""
    text = piece * (250_000 // len(piece))
    begin = time.thread_time()
    redacted_value(text)

    assert time.thread_time() - begin < 20


def test_errors_contain_no_secrets():
    """By their form, and known ones wherever the error comes from."""
    url = "cannot reach http://bob:hunter2@db:80/"
    with pytest.raises(SidecarError, match=re.escape("cannot open [REDACTED]")), redacting(["s3cret"]):
        raise SidecarError("cannot open s3cret")

    assert "cannot reach http://[REDACTED]@db:80/" == str(SidecarError(url))
    assert "a: cannot reach http://[REDACTED]@db:80/" == str(ConfigError([Mistake("a", url)]))
