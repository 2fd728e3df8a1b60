# SPDX-License-Identifier: Apache-2.0
"""From the last processor to a back end: queues, retries, and accounting of every point.

What authors of senders need is one folder up: `payload.py` and `push_settings.py`.
"""
