# SPDX-License-Identifier: Apache-2.0
"""Extensions: components beside the pipelines, the only components in here."""
