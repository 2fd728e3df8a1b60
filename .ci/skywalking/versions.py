# SPDX-License-Identifier: Apache-2.0
"""Which layers a release of OAP has: 10.1 does not start with one that it does not know, 11 hides its services."""

from __future__ import annotations

from collections.abc import Mapping

VERSIONS = ("10.1", "10.2", "10.3", "10.4", "11")
LAYER = "BANYANDB"
OLDER_LAYER = "K8S_SERVICE"
"""For releases without the layer BANYANDB."""
_SINCE: Mapping[str, frozenset[str]] = {
    "10.1": frozenset({
        "ACTIVEMQ", "APISIX", "AWS_DYNAMODB", "AWS_EKS", "AWS_GATEWAY", "AWS_S3", "BOOKKEEPER", "BROWSER", "CACHE",
        "CILIUM_SERVICE", "CLICKHOUSE", "DATABASE", "ELASTICSEARCH", "FAAS", "GENERAL", "K8S", "K8S_SERVICE", "KAFKA",
        "MESH", "MESH_CP", "MESH_DP", "MONGODB", "MQ", "MYSQL", "NGINX", "OS_LINUX", "OS_WINDOWS", "POSTGRESQL",
        "PULSAR", "RABBITMQ", "REDIS", "ROCKETMQ", "SO11Y_JAVA_AGENT", "SO11Y_OAP", "SO11Y_SATELLITE", "UNDEFINED",
        "VIRTUAL_CACHE", "VIRTUAL_DATABASE", "VIRTUAL_GATEWAY", "VIRTUAL_MQ",
    }),
    "10.3": frozenset({LAYER}),
}  # fmt: skip
"""The layers of 10.1, and what later releases added of which we know."""


def layers(version: str) -> frozenset[str]:
    """Those of a release. Raises `ValueError` where it is none of `VERSIONS`."""
    if version not in VERSIONS:
        raise ValueError(f'"{version}": not a release that is known here; choose one of {", ".join(VERSIONS)}')
    place = VERSIONS.index(version)
    return frozenset().union(*(added for since, added in _SINCE.items() if VERSIONS.index(since) <= place))


def default_layer(version: str) -> str:
    """The layer that our files use in a release."""
    return LAYER if LAYER in layers(version) else OLDER_LAYER


def for_older(text: str) -> str:
    """A rule file or dashboard for releases without the layer, as the page does it with sed."""
    return text.replace(f"Layer.{LAYER}", f"Layer.{OLDER_LAYER}").replace(
        f'"layer": "{LAYER}"', f'"layer": "{OLDER_LAYER}"'
    )
