# SPDX-License-Identifier: Apache-2.0
"""Frames as SkyWalking's OAP counts them right: what it does with OTLP differs from what one would expect.

Each rule here was seen on two real servers (10.1.0 and the development version of 11); DECISIONS.md says which.
"""
