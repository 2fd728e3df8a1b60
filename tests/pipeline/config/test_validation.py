# SPDX-License-Identifier: Apache-2.0
"""Settings classes are other people's code: whatever they raise is a mistake in the file, reported like others."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import field_validator, model_validator

from ebpf_sidecar.pipeline.config.validation import validated
from ebpf_sidecar.pipeline.config.yaml_document import Mark
from ebpf_sidecar.pipeline.errors import ConfigError, Mistake
from ebpf_sidecar.pipeline.settings import Settings

AT = ("receivers", "x")
MARKS = {AT: Mark("f", 1, 2)}


class Fragile(Settings):
    value: Any = None

    @field_validator("value")
    @classmethod
    def _looked_up(cls, value):
        return {"a": 1}[value]


class Endless(Settings):
    value: Any = None

    @model_validator(mode="before")
    @classmethod
    def _deeper(cls, value):
        return cls._deeper(value)


@pytest.mark.parametrize(
    ("model", "value", "cause"),
    [
        (Fragile, [], "TypeError: "),
        (Fragile, "password=hunter2", "KeyError: "),
        (Endless, 1, "RecursionError: "),
    ],
)
def test_what_a_settings_class_raises_is_one_mistake(model, value, cause):
    """With its place, its cause and the package to blame; secrets are masked."""
    settings, [mistake] = validated(model, {"value": value}, AT, MARKS)

    assert settings is None
    assert str(mistake).startswith(f"f:1:2: receivers::x: cannot be checked: {cause}")
    assert str(mistake).endswith("; report this to the author of the component")
    assert "hunter2" not in str(mistake)


def test_what_is_right_for_it_is_taken():
    """The same class."""
    settings, mistakes = validated(Fragile, {"value": "a"}, AT, MARKS)

    assert (1, []) == (settings.value, mistakes)


def test_mistakes_in_another_file_are_reported_as_they_are():
    """A setting may name a file, whose mistakes are not those of the settings class."""

    class Named(Settings):
        probe: str = ""

        @field_validator("probe")
        @classmethod
        def _read(cls, value):
            raise ConfigError([Mistake("maps::0", "wrong; correct it", f"{value}:3:5")])

    assert (None, [Mistake("maps::0", "wrong; correct it", "x.yaml:3:5")]) == validated(
        Named, {"probe": "x.yaml"}, ("receivers", "ebpf"), {}
    )


def test_what_stands_in_a_list_of_mappings_gets_suggestions():
    """Each entry of the list has the settings of its class."""

    class Entry(Settings):
        reason: str = ""

    class Listed(Settings):
        entries: tuple[Entry, ...] = ()

    _, [found] = validated(Listed, {"entries": [{"reasn": "x"}]}, (), {}, noun="key")

    assert 'entries::0: unknown key "reasn"; did you mean "reason"?' == str(found)
