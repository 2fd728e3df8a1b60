# SPDX-License-Identifier: Apache-2.0
import signal

import pytest

from ebpf_sidecar.receivers.ebpf.loading.parent import how_it_died

ENDS = {
    "killed": (-signal.SIGKILL, "", "was killed (SIGKILL), most likely for want of memory: compiling takes about 125"),
    "another signal": (-signal.SIGSEGV, "", "was ended by SIGSEGV"),
    "a signal without a name": (-40, "", "was ended by signal 40"),
    "an exit": (1, "ImportError: numpy", "ended with exit status 1\nImportError: numpy"),
    "still running": (None, "", "closed its socket"),
}


@pytest.mark.parametrize("case", ENDS)
def test_a_loader_that_did_not_answer_is_named_with_its_end(case):
    """Signal or exit status, what that means, and what it wrote last."""
    status, log, said = ENDS[case]

    assert how_it_died(status, log).startswith(f"the loader {said}")
