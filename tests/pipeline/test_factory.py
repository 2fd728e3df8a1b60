# SPDX-License-Identifier: Apache-2.0
"""A factory is made for one kind of component, and a type checker sees whether it makes one."""

import subprocess
import sys
from pathlib import Path

import pytest

from ebpf_sidecar.pipeline import ComponentKind, Factory, PushSettings, Settings
from ebpf_sidecar.pipeline.testing import FakeSender

RIGHT = """
from collections.abc import Iterable
from ebpf_sidecar.pipeline import Consumer, Factory, Frames, Payload, Refusal

class Receives:
    def start(self, consumer: Consumer) -> None: ...
    def shutdown(self) -> None: ...

class Processes:
    def process(self, frames: Frames) -> Frames:
        return frames

class Exports:
    def export(self, frames: Frames) -> None: ...

class Sends:
    def encode(self, frames: Frames) -> Iterable[Payload]:
        return ()
    def send(self, payload: Payload) -> None: ...

class Extends:
    def start(self) -> None: ...
    def shutdown(self) -> None: ...

Factory.receiver("r", lambda settings, context: Receives(), description="r")
Factory.processor("p", lambda settings, context: Processes())
Factory.exporter("e", lambda settings, context: Exports())
Factory.sender("s", lambda settings, context: Sends())
Factory.extension("x", lambda settings, context: Extends())
"""
WRONG = """
Factory.receiver("r", lambda settings, context: Exports())
Factory.processor("p", lambda settings, context: Exports())
Factory.exporter("e", lambda settings, context: Sends())
Factory.sender("s", lambda settings, context: Exports())
Factory.extension("x", lambda settings, context: Processes())
"""


@pytest.mark.full_length
def test_a_component_without_its_method_fails_in_mypy(tmp_path):
    """Each line of the wrong ones, and none of the right ones."""
    file = tmp_path / "plugin.py"
    file.write_text(RIGHT + WRONG)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", "--no-error-summary", file]
    said = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]).stdout
    first = RIGHT.count("\n") + 2
    lines = {int(line.split(":")[1]) for line in said.splitlines() if ": error: " in line}

    assert [*range(first, first + 5)] == sorted(lines), said


def test_the_method_sets_the_kind_and_a_sender_has_a_queue():
    """Omitted fields have their defaults."""
    sender = Factory.sender("s", lambda settings, context: FakeSender())
    kinds = [
        getattr(Factory, kind)("x", None).kind for kind in ("receiver", "processor", "exporter", "sender", "extension")
    ]

    assert [*[*ComponentKind][:3], ComponentKind.EXPORTER, ComponentKind.EXTENSION] == kinds
    assert (True, PushSettings) == (sender.sends, sender.settings)
    assert (False, Settings) == (Factory.exporter("e", None).sends, Factory.exporter("e", None).settings)
