# SPDX-License-Identifier: Apache-2.0
"""The keys of a probe's YAML, from the descriptions that its shapes give them."""

from __future__ import annotations

from ebpf_sidecar.receivers.ebpf.probe.shapes import SHAPES

from .text import block, code, inline, table


@block
def probe_keys(shape: str) -> str:
    """A row for each key of one mapping, with those that are required marked."""
    rows = [
        (code(name), "yes" if field.is_required() else "", inline(" ".join((field.description or "").split())))
        for name, field in SHAPES[shape].model_fields.items()
    ]
    return table(("key", "required", "meaning"), rows)
