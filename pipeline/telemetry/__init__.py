# SPDX-License-Identifier: Apache-2.0
"""What the product says about itself: counters, logs and health."""
