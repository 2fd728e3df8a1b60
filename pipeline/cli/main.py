# SPDX-License-Identifier: Apache-2.0
"""The entry point of the command ``ebpf-sidecar``: first what an interrupt does, then everything else.

Imports nothing but what Python has loaded anyway: until the first line of `main` has run, Ctrl-C prints a traceback.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Run the command line of this process, and end it.

    Until a command says otherwise Ctrl-C ends the process as it ends any other program: at once and without a word.
    Commands that have something to tidy up install handlers of their own before they open it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where a shell had it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    _occupy_standard_descriptors()
    # all imports take their time, in which somebody may press Ctrl-C
    from ebpf_sidecar.pipeline.process.import_path import safe_import_path  # noqa: PLC0415

    sys.path[:] = safe_import_path()  # much is imported only when it is needed
    # NumPy's linear algebra, which nobody uses here, would start a thread per processor; each keeps its rights for good
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from ebpf_sidecar.pipeline.output import flush_standard_streams, name_output_errors  # noqa: PLC0415

    from .commands import exit_code  # noqa: PLC0415

    name_output_errors()
    code = exit_code(sys.argv[1:])
    flush_standard_streams()
    sys.exit(code)


def _occupy_standard_descriptors() -> None:
    """Whoever closed one of them (``2>&-``) must not find a socket of ours in its place: libraries write there."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:  # standard error's
        os.set_inheritable(opened, True)  # noqa: FBT003 # the parameter has no name
    os.close(opened)
