# SPDX-License-Identifier: Apache-2.0
"""Pages belong to the component that added them."""

import pytest

from ebpf_sidecar.pipeline.errors import SidecarError
from ebpf_sidecar.pipeline.host import Response
from ebpf_sidecar.pipeline.http.own_routes import OwnRoutes
from ebpf_sidecar.pipeline.testing import RecordedRoutes


def page(_request):
    """Any."""
    return Response(b"")


def test_what_is_left_is_removed_when_the_component_has_gone():
    """And nothing of others."""
    shared = RecordedRoutes()
    mine, others = OwnRoutes(shared), OwnRoutes(shared)
    mine.add("a:1", "/mine", page)
    mine.add("a:2", "/mine", page)
    others.add("a:1", "/other", page)
    mine.withdraw()
    mine.withdraw()

    assert [("a:1", "/other")] == list(shared.handlers)


def test_a_page_of_another_component_is_not_removed():
    """Neither one that was never added, nor the same path after it was given up."""
    shared = RecordedRoutes()
    mine, others = OwnRoutes(shared), OwnRoutes(shared)
    mine.add("a:1", "/p", page)
    with pytest.raises(SidecarError):
        others.add("a:1", "/p", page)
    others.remove("a:1", "/p")
    mine.remove("a:1", "/p")
    others.add("a:1", "/p", page)
    mine.remove("a:1", "/p")

    assert [("a:1", "/p")] == list(shared.handlers)
