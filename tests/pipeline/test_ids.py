# SPDX-License-Identifier: Apache-2.0
"""Names of components, which everything may import."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline.ids import ComponentId, ComponentKind

PART = st.text("abc_1", min_size=1, max_size=5)


@given(st.sampled_from(ComponentKind), PART, PART | st.just(""))
def test_an_id_is_read_as_it_is_written(kind, type_, name):
    """``type`` or ``type/name``."""
    id_ = ComponentId(kind, type_, name)

    assert id_ == ComponentId.parse(kind, str(id_))


@pytest.mark.parametrize("text", ["", " ", "/", "a/", "/b", "a/ "])
def test_what_is_no_id_is_refused_with_the_repair(text):
    """The user's word is quoted."""
    with pytest.raises(ValueError, match=f'"{text}" is not a component id; write "type" or "type/name"'):
        ComponentId.parse(ComponentKind.RECEIVER, text)


def test_importing_names_imports_no_numpy():
    """The short-lived loader and the command line know components by name only."""
    program = "import sys; from ebpf_sidecar.pipeline import ComponentKind; print('numpy' in sys.modules)"
    found = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)

    assert "False\n" == found.stdout
