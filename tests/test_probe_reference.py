# SPDX-License-Identifier: Apache-2.0
"""The page about writing probes has every key that the YAML may have, and names nothing that does not exist."""

import re
from pathlib import Path

from ebpf_sidecar.receivers.ebpf.probe import file, model

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "bpf/WRITING_PROBES.md").read_text(encoding="utf-8")


def words_in_code():
    """The text between backquotes."""
    return set(re.findall(r"`([^`]+)`", PAGE))


def known_keys():
    """Every word in the tuples that the reader takes for keys, and those that it looks up."""
    source = Path(file.__file__).read_text(encoding="utf-8")
    tuples = re.findall(r"(?:only\(|keys = |needed = |_NEEDED = |_KEYS = )\(([^)]*)\)", source)
    named = re.findall(r'"(\w+)"', " ".join(tuples))
    return {*named, *model.ATTACH_KINDS, *model.CALL_FIELDS, *model.DECODERS, *model.KINDS, *map(str, model.Action)}


def test_every_key_of_the_yaml_is_explained():
    """Authors need not read the reader's code."""
    keys = known_keys()

    assert {"summary", "alternatives", "shown_by", "default_exponents", "near", "minus"} <= keys
    assert set() == keys - words_in_code()


def test_headers_and_functions_that_the_page_names_exist():
    """In the headers beside it."""
    headers = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "bpf").glob("*.h"))
    functions = {word.partition("(")[0] for word in words_in_code() if re.match(r"[a-z_]+\(", word)}
    files = {word for word in words_in_code() if re.fullmatch(r"[\w]+\.[ch]", word)}

    assert {"owner_of_current", "count_drop", "histogram_slot"} <= functions
    assert set() == {name for name in functions if f" {name}(" not in headers}
    assert set() == {name for name in files if not (ROOT / "bpf" / name).exists()}
