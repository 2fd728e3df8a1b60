# SPDX-License-Identifier: Apache-2.0
"""The generated parts of the markdown files, made from the code that they describe.

`make docs` runs cog over the files; each cog block there calls one function from here. Everything comes from the tree
and nothing from the machine, so that two people always get the same text.
"""

from .components import components, service_settings
from .kernels import kernel_matrix
from .memory import map_memory
from .metrics import added_by_rate, own_telemetry, receiver_metrics
from .oap import oap_layers, oap_metrics
from .overview import benches, configurations, hooks, markers
from .page import page_sizes
from .probe_keys import probe_keys
from .probes import probes
from .sample import sample

__all__ = [
    "added_by_rate",
    "benches",
    "components",
    "configurations",
    "hooks",
    "kernel_matrix",
    "map_memory",
    "markers",
    "oap_layers",
    "oap_metrics",
    "own_telemetry",
    "page_sizes",
    "probe_keys",
    "probes",
    "receiver_metrics",
    "sample",
    "service_settings",
]
