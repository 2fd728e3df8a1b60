# SPDX-License-Identifier: Apache-2.0
"""The entry point of the command ``ebpf-sidecar``: sets the interrupt handler before everything else.

Imports only modules that Python has already loaded: Ctrl-C prints a traceback until the first line of `main` has run.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Run this process's command line and exit.

    By default Ctrl-C kills the process like any other program: immediately and silently. Commands that need cleanup
    install handlers of their own before they open anything.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # unless a shell has set it to be ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    _occupy_standard_descriptors()
    # imports take time, in which the user may press Ctrl-C
    from ebpf_sidecar.pipeline.process.import_path import safe_import_path  # noqa: PLC0415

    sys.path[:] = safe_import_path()  # many imports happen later
    # NumPy's linear algebra, unused here, would start a thread per CPU, and threads keep their capabilities
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its core writes to stderr what its callers are told as well
    from ebpf_sidecar.pipeline.output import flush_standard_streams, name_output_errors  # noqa: PLC0415

    from .commands import exit_code  # noqa: PLC0415

    name_output_errors()
    code = exit_code(sys.argv[1:])
    flush_standard_streams()
    sys.exit(code)


def _occupy_standard_descriptors() -> None:
    """If one was closed (``2>&-``), no socket of ours may take its number: libraries write to it."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:  # up to standard error's number
        os.set_inheritable(opened, True)  # noqa: FBT003 # the parameter has no name
    os.close(opened)
