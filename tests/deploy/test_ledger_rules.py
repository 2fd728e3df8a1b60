# SPDX-License-Identifier: Apache-2.0
"""The alerts on the ledger: they name metrics and labels that exist, and fire when they should."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from documents.probes import prometheus_name
from prometheus_servers import needs

from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.telemetry.catalogue import catalogue

FILE = Path(__file__).parents[2] / "deploy/prometheus/ledger-rules.yaml"
RULES = [rule for group in yaml.safe_load(FILE.read_text())["groups"] for rule in group["rules"]]
SCRAPED = {"instance"}
"""What Prometheus adds."""


def test_the_rules_name_metrics_and_labels_that_exist():
    """As the page calls them."""
    known = {prometheus_name(each.name, each.unit, each.kind.value): each.attributes for each in catalogue(Plugins())}
    unknown = []
    for rule in RULES:
        [name] = re.findall(r"ebpf_\w+", rule["expr"])
        used = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        used |= set(re.findall(r"[{,](\w+)[!=~]", rule["expr"]))
        unknown += [] if name in known and used <= {*known[name], *SCRAPED} else [(name, used)]

    assert [] == unknown
    assert all(rule["annotations"].keys() == {"summary", "description"} for rule in RULES)


def series(name, values, **labels):
    """A time series in promtool's notation, one value a minute."""
    written = ", ".join(f'{label}="{value}"' for label, value in {"instance": "a", **labels}.items())
    return {"series": f"ebpf_sidecar_{name}{{{written}}}", "values": values}


OTLP, EBPF = {"component": "exporter otlp"}, {"component": "receiver ebpf"}
SERIES = [
    series("exporter_unaccounted_metric_points", "0 3+0x20", exporter="otlp"),
    series("exporter_unaccounted_metric_points", "0 0 1 0+0x20", exporter="debug"),
    series("exporter_unaccounted_metric_points", "0+0x20", exporter="prometheus"),
    series("dropped_metric_points_total", "0 9+0x20", **OTLP, reason="queue_full"),
    series("dropped_metric_points_total", "7+0x20", **OTLP, reason="refused"),
    series("receiver_lost_events_total", "0 0 5+0x20", **EBPF, reason="requests"),
    series("receiver_lost_events_total", "0+1x20", **EBPF, reason="forgotten_rows"),
]
EXPECTED = [
    ("EbpfSidecarLedgerDoesNotClose", "5m", []),
    ("EbpfSidecarLedgerDoesNotClose", "6m", [{"severity": "critical", "exporter": "otlp"}]),
    ("EbpfSidecarDropsDataPoints", "3m", [{"severity": "warning", **OTLP, "reason": "queue_full"}]),
    ("EbpfSidecarDropsDataPoints", "15m", []),
    ("EbpfSidecarLosesKernelEvents", "1m", []),
    ("EbpfSidecarLosesKernelEvents", "3m", [{"severity": "warning", **EBPF, "reason": "requests"}]),
]
"""Name, minute, and the labels of the alerts that fire then."""


def promtool(*arguments):
    """Its exit code and what it says."""
    ended = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.peer
@needs("promtool")
def test_prometheus_takes_the_rules():
    """All of them, without a complaint."""
    code, said = promtool("check", "rules", FILE)

    assert 0 == code, said
    assert f"SUCCESS: {len(RULES)} rules found" in said


@pytest.mark.peer
@needs("promtool")
def test_an_alert_fires_for_what_does_not_close_or_is_lost_and_for_nothing_else(tmp_path):
    """Not for a moment that does not close, for old losses, or for rows that were given up."""
    plain = [{key: value for key, value in rule.items() if key != "annotations"} for rule in RULES]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "ledger", "rules": plain}]}))
    tests = [
        {
            "eval_time": time,
            "alertname": name,
            "exp_alerts": [{"exp_labels": {"instance": "a", **labels}} for labels in alerts],
        }
        for name, time, alerts in EXPECTED
    ]
    test = {"interval": "1m", "input_series": SERIES, "alert_rule_test": tests}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": [test]}))
    code, said = promtool("test", "rules", tmp_path / "test.yaml")

    assert 0 == code, said
