# SPDX-License-Identifier: Apache-2.0
"""The loader: a short-lived child process that compiles and attaches. `child` is its entry point."""
