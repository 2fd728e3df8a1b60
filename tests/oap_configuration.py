# SPDX-License-Identifier: Apache-2.0
"""The smallest configuration with which a SkyWalking OAP server receives OTLP metrics and answers queries."""

import json

LOGGING = """\
<Configuration status="WARN">
  <Appenders><Console name="out"><PatternLayout pattern="%d %c{1} [%p] %m%n"/></Console></Appenders>
  <Loggers>
    <Root level="WARN"><AppenderRef ref="out"/></Root>
    <Logger name="com.linecorp.armeria.internal.common.util.TransportTypeProvider" level="ERROR"/>
  </Loggers>
</Configuration>
"""
"""Without it everything is logged, which for a large request is gigabytes."""
EMPTY = ("endpoint-name-grouping.yml", "oal/disable.oal", "openapi-definitions/none.yml")
DATABASE = "jdbc:h2:mem:oap;DB_CLOSE_DELAY=-1;DATABASE_TO_UPPER=FALSE"


def write_configuration(folder, rules, grpc, http, persist_seconds):
    """A new folder for the server's class path. ``rules``: a folder of rule files; ``host:port`` each."""
    for name in EMPTY:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (folder / "component-libraries.yml").write_text("{}\n")
    (folder / "service-apdex-threshold.yml").write_text("default: 500\n")
    (folder / "log4j2.xml").write_text(LOGGING)
    _write_rules(folder / "otel-rules" / "ours", rules)
    modules = _modules(grpc.rsplit(":", 1), http.rsplit(":", 1), persist_seconds)
    chosen = {name: {"selector": provider, provider: settings} for name, (provider, settings) in modules.items()}
    (folder / "application.yml").write_text(json.dumps(chosen))  # JSON is YAML, too


def _write_rules(folder, rules):
    """Copies of rule files for 10.1, which does not start where one names the layer BANYANDB: that is of 10.3."""
    folder.mkdir(parents=True)
    for file in rules.glob("*.yaml"):
        (folder / file.name).write_text(file.read_text().replace("Layer.BANYANDB", "Layer.K8S_SERVICE"))


def _modules(grpc, http, persist_seconds):
    """Each module's provider and settings."""
    addresses = {"gRPCHost": grpc[0], "gRPCPort": int(grpc[1]), "restHost": http[0], "restPort": int(http[1])}
    kept = {"downsampling": ["Hour", "Day"], "recordDataTTL": 3, "metricsDataTTL": 7}
    core = {"role": "Mixed", "restContextPath": "/", **addresses, **kept, "persistentPeriod": persist_seconds}
    storage = {
        "properties": {"jdbcUrl": DATABASE, "dataSource.user": "sa"},
        "metadataQueryMaxSize": 5000,
        "maxSizeOfBatchSql": 100,
        "asyncBatchPersistentPoolSize": 1,
    }
    return {
        "cluster": ("standalone", {}),
        "core": ("default", core),
        "storage": ("h2", storage),
        "receiver-sharing-server": ("default", {}),
        "receiver-otel": ("default", {"enabledHandlers": "otlp-metrics", "enabledOtelMetricsRules": "ours/*"}),
        "query": ("graphql", {"enableUpdateUITemplate": True}),
        "ai-pipeline": ("default", {}),
        "telemetry": ("none", {}),
        "configuration": ("none", {}),
    }
