# SPDX-License-Identifier: Apache-2.0
"""What is ready for gateways works: the agents' configuration, and the manifests."""

from pathlib import Path

import yaml

from ebpf_sidecar.pipeline.cli.commands import exit_code

FOLDER = Path(__file__).parents[2] / "deploy" / "gateway"


def manifests():
    """The manifests by kind."""
    text = (FOLDER / "kubernetes.yaml").read_text(encoding="utf-8")
    return {each["kind"]: each for each in yaml.safe_load_all(text)}


def test_the_agents_configuration_passes_the_check(capsys):
    """Without a warning, and to the Service that the manifests make."""
    service = manifests()["Service"]
    assert 0 == exit_code(["check", "--config", str(FOLDER / "agent.yaml")])
    assert "" == capsys.readouterr().err

    name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
    port = service["spec"]["ports"][0]["port"]
    assert f"dns:///{name}.{namespace}.svc:{port}" in (FOLDER / "agent.yaml").read_text(encoding="utf-8")


def test_all_manifests_mean_the_same_pods():
    """A label that differs would leave the gateways without traffic, without a word."""
    found = manifests()
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]

    assert labels == found["Service"]["spec"]["selector"]
    assert labels == found["Deployment"]["spec"]["selector"]["matchLabels"]
    assert labels == found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]
    assert found["Deployment"]["metadata"]["name"] == found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"]
    assert 1 == len({each["metadata"]["namespace"] for each in found.values()})


def test_ports_and_files_are_those_of_the_collectors_configuration():
    """Probes and Service ask where the collector listens, and it reads the file that is mounted."""
    collector = yaml.safe_load((FOLDER / "collector.yaml").read_text(encoding="utf-8"))
    [container] = manifests()["Deployment"]["spec"]["template"]["spec"]["containers"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}

    assert str(ports["otlp-grpc"]) == collector["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"].partition(":")[2]
    assert str(ports["health"]) == collector["extensions"]["health_check"]["endpoint"].partition(":")[2]
    assert manifests()["Service"]["spec"]["ports"][0]["targetPort"] in ports
    [mount] = container["volumeMounts"]
    assert [f"--config={mount['mountPath']}/config.yaml"] == container["args"]
