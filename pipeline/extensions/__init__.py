# SPDX-License-Identifier: Apache-2.0
"""Extensions: components beside the pipelines, and the only components in `pipeline`."""
