# SPDX-License-Identifier: Apache-2.0
"""From the last processor to a back end: the queue of each sender, retries, and the account of every point.

What authors of senders need is one folder up: `payload.py` and `push_settings.py`.
"""
