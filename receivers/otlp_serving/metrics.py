# SPDX-License-Identifier: Apache-2.0
"""The metrics of the receiver's own: what clients sent that frames have no place for."""

from ebpf_sidecar.pipeline.metric_info import counter

EXEMPLARS = counter(
    "ebpf_sidecar.receiver.dropped_exemplars",
    "{exemplar}",
    "Exemplars of points that were accepted without them",
    "component",
)
ABSENT = counter(
    "ebpf_sidecar.receiver.empty_attributes",
    "{attribute}",
    "Attributes with an empty value or without a name, which count as absent",
    "component",
)
TELEMETRY = (EXEMPLARS, ABSENT)
