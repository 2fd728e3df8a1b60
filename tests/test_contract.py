# SPDX-License-Identifier: Apache-2.0
"""Every installed component keeps the contract that plugin authors are held to."""

import pytest

from ebpf_sidecar.pipeline.component import ComponentKind
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.testing import check_contract

SETTINGS = {"rate": {"metrics": ["ebpf.*"]}, "skywalking_oap": {"cluster": "contract"}}
COMPONENTS = [(kind, type_) for kind, type_, _ in Plugins().all()]


@pytest.mark.parametrize(("kind", "type_"), COMPONENTS, ids=str)
def test_every_component_keeps_the_contract(kind, type_):
    """Documented, strict about unknown settings, safe to stop in any state, content with empty frames."""
    check_contract(Plugins().factory(kind, type_), SETTINGS.get(type_, {}))


def test_all_kinds_are_there():
    """The list above is not empty by mistake."""
    assert set(ComponentKind) == {kind for kind, _ in COMPONENTS}
