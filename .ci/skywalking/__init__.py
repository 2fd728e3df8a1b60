# SPDX-License-Identifier: Apache-2.0
"""What deploy/skywalking/ holds, made from the catalogue of metrics, and the static check of rule files for OAP.

``python -m skywalking write`` writes the files (`make docs`); ``check`` reads rule files (`make check-oap-rules`).
"""
