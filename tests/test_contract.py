# SPDX-License-Identifier: Apache-2.0
"""Every installed component keeps the contract that plugin authors are held to."""

from ebpf_sidecar.pipeline.component import ComponentKind
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.testing import check_contract

SETTINGS = {
    "exporter skywalking_oap": {"cluster": "contract"},
    "processor memory_limiter": {"limit_percentage": 90},
    "processor rate": {"metrics": ["ebpf.*"]},
    "receiver otlp": {"protocols": {"grpc": {"endpoint": "127.0.0.1:0"}, "http": {"endpoint": "127.0.0.1:0"}}},
}
COMPONENTS = [(kind, type_) for kind, type_, _ in Plugins().all()]


def test_every_component_keeps_the_contract(tmp_path):
    """Documented, strict about unknown settings, safe to stop in any state, content with empty frames."""
    settings = SETTINGS | {"extension file_storage": {"directory": tmp_path}}
    broken = {(kind.value, type_): broken_rule(Plugins().factory(kind, type_), settings) for kind, type_ in COMPONENTS}

    assert set(ComponentKind) == {kind for kind, _ in COMPONENTS}
    assert dict.fromkeys(broken) == broken


def broken_rule(factory, settings):
    """The rule of the contract that a component breaks; None if it keeps all of them."""
    try:
        check_contract(factory, settings.get(f"{factory.kind.value} {factory.type}", {}))
    except AssertionError as rule:
        return str(rule)
    return None
