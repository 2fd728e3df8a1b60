# SPDX-License-Identifier: Apache-2.0
"""Numbers in Prometheus and OpenMetrics text: integers exact to 64 bits, floats in the shortest lossless form."""

from __future__ import annotations

from math import isinf, isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client.utils import floatToGoString


def number_texts(values: NDArray[Any]) -> list[str]:
    """The text of each number of a one-dimensional array."""
    if values.dtype.kind in "ui":
        return list(map(str, values.tolist()))
    if values.dtype.kind == "b":
        return list(map(str, values.astype(np.uint8).tolist()))
    floats = values.astype(np.float64, copy=False)
    texts = list(map(repr, floats.tolist()))
    if np.isfinite(floats).all():
        return texts
    return [number_text(value) for value in floats.tolist()]


def number_text(value: float) -> str:
    """The text of one number."""
    if isnan(value):
        return "NaN"
    if isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)


def bound_text(bound: float) -> str:
    """A bucket's upper bound in OpenMetrics' canonical form: ``0.001``, ``1.0``, ``1e+06``.

    Identical in both formats, so that series stay the same when the scraper changes format; Prometheus 3 rewrites any
    other form to this one.
    """
    return str(floatToGoString(bound))  # type: ignore[no-untyped-call] # prometheus_client types only a part
