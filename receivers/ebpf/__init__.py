# SPDX-License-Identifier: Apache-2.0
"""The eBPF receiver: reads kernel maps at each interval and turns them into frames."""
