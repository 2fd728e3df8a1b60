# SPDX-License-Identifier: Apache-2.0
import signal

import pytest

from ebpf_sidecar.receivers.ebpf.loading.parent import exit_cause

ENDS = {
    "killed": (
        -signal.SIGKILL,
        "",
        "was killed (SIGKILL), most likely because memory ran out: compiling takes about 125",
    ),
    "another signal": (-signal.SIGSEGV, "", "was killed by SIGSEGV"),
    "a signal without a name": (-40, "", "was killed by signal 40"),
    "an exit": (1, "ImportError: numpy", "ended with exit status 1\nImportError: numpy"),
    "still running": (None, "", "closed its socket"),
}


@pytest.mark.parametrize("case", ENDS)
def test_a_loader_that_did_not_answer_is_named_with_its_end(case):
    """Signal or exit status, what that means, and what it wrote last."""
    status, log, reported = ENDS[case]

    assert exit_cause(status, log).startswith(f"the loader {reported}")
