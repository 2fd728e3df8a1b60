# SPDX-License-Identifier: Apache-2.0
"""The page about writing probes has every key that the YAML may have, and names nothing that does not exist."""

import re
from pathlib import Path
from typing import get_args

from ebpf_sidecar.receivers.ebpf.probe import model
from ebpf_sidecar.receivers.ebpf.probe.shape import Shape
from ebpf_sidecar.receivers.ebpf.probe.shapes import SHAPES, ProbeShape

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "bpf/WRITING_PROBES.md").read_text(encoding="utf-8")


def words_in_code():
    """The text between backquotes."""
    return set(re.findall(r"`([^`]+)`", PAGE))


def test_every_key_and_every_word_of_the_yaml_is_explained():
    """Authors need not read the reader's code."""
    keys = {name for shape in SHAPES.values() for name in shape.model_fields}
    words = {
        *get_args(model.MetricKind),
        *model.CALL_FIELDS,
        *model.DECODERS,
        *model.PERF_EVENTS,
        *map(str, model.Action),
    }

    assert {"summary", "alternatives", "shown_by", "default_exponents", "near", "minus", *model.ATTACH_KINDS} <= keys
    assert set() == (keys | words) - words_in_code()


def test_every_mapping_of_the_file_has_its_table():
    """And every key in it says what it is for."""
    assert set(SHAPES.values()) == set(shapes_below(ProbeShape))
    assert [] == [name for shape in SHAPES.values() for name, key in shape.model_fields.items() if not key.description]


def shapes_below(annotation):
    """The classes of all mappings in what is written as ``annotation``."""
    if isinstance(annotation, type) and issubclass(annotation, Shape):
        yield annotation
        for field in annotation.model_fields.values():
            yield from shapes_below(field.annotation)
    for part in get_args(annotation):
        yield from shapes_below(part)


def test_headers_and_functions_that_the_page_names_exist():
    """In the headers beside it."""
    headers = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "bpf").glob("*.h"))
    functions = {word.partition("(")[0] for word in words_in_code() if re.match(r"[a-z_]+\(", word)}
    files = {word for word in words_in_code() if re.fullmatch(r"[\w]+\.[ch]", word)}

    assert {"owner_of_current", "count_drop", "histogram_slot"} <= functions
    assert set() == {name for name in functions if f" {name}(" not in headers}
    assert set() == {name for name in files if not (ROOT / "bpf" / name).exists()}
