# SPDX-License-Identifier: Apache-2.0
import errno

import pytest

from ebpf_sidecar.receivers.ebpf.loader import filling
from ebpf_sidecar.receivers.ebpf.loading.refusal import LoadRefused

ADVICE = {
    errno.E2BIG: "choose fewer system calls",
    errno.ENOMEM: "lower max_map_memory",
    errno.EPERM: "ebpf-sidecar doctor",
}


@pytest.mark.parametrize("number", ADVICE, ids=errno.errorcode.get)
def test_a_map_that_cannot_be_filled_is_reported_with_the_remedy(number, monkeypatch):
    """No program may decide by half a set, so nothing is attached."""
    monkeypatch.setattr(filling, "element", lambda *_: number)
    with pytest.raises(LoadRefused) as caught:
        filling.fill_sets({"target_names": 3}, {"target_names": ("00",)})

    reported = caught.value.problem.message
    assert reported.startswith('map "target_names": cannot be filled (')
    assert ADVICE[number] in reported
