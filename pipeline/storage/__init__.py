# SPDX-License-Identifier: Apache-2.0
"""Payloads on disk: a folder that belongs to one process, and in it one database for each sender."""
