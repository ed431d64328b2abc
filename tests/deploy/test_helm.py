"""The Helm chart, linted and rendered by Helm's own engine, and held against Kubernetes' schemas and our settings."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from services.runtime.settings import SECRETS, Settings
from services.runtime.wiring import SERVICES
from tests.deploy.conftest import DEPLOY

if sys.platform != "linux":
    pytest.skip("Helm's engine comes as a wheel for Linux alone", allow_module_level=True)

from helm_python import HelmValuesError
from helm_python.chart import Chart, lint

CHART = DEPLOY / "helm" / "keyscope"
VALUES: dict[str, dict[str, Any]] = {"none": {}} | {
    path.stem: yaml.safe_load(path.read_text()) for path in sorted((CHART / "ci").glob("*.yaml"))
}
CUSTOM = {"monitoring.coreos.com/v1", "jetstream.nats.io/v1beta2"}
KUBERNETES = ["1.30", "1.34", "1.37"]
Manifest = dict[str, Any]


def rendered(values: dict[str, Any]) -> list[Manifest]:
    """Every manifest that the chart makes of these values."""
    with Chart.load(CHART) as chart:
        files = chart.render(values, name="shop", namespace="shops")
    texts = [text for name, text in files.items() if name.endswith(".yaml")]
    return [manifest for text in texts for manifest in yaml.safe_load_all(text) if manifest]


@pytest.fixture(params=VALUES)
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return rendered(VALUES[request.param])


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest, Manifest]]:
    """(component, workload, pod template)"""
    for workload in of_kind(manifests, "Deployment", "StatefulSet"):
        template = workload["spec"]["template"]
        yield template["metadata"]["labels"]["app.kubernetes.io/component"], workload, template


def selected(manifests: list[Manifest], selector: dict[str, str]) -> list[Manifest]:
    return [
        template["spec"]
        for _, _, template in pods(manifests)
        if selector.items() <= template["metadata"]["labels"].items()
    ]


@pytest.mark.parametrize("values", VALUES)
def test_helm_finds_nothing_to_complain_of(values: str) -> None:
    report = lint(CHART, VALUES[values], strict=True)
    assert report["total_charts_linted"] == 1
    assert [message["error"] for message in report["messages"]] == ["icon is recommended"]
    assert not report["errors"]


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_would_take_every_manifest(manifests: list[Manifest], version: str) -> None:
    ours = [manifest for manifest in manifests if manifest["apiVersion"] not in CUSTOM]
    assert len(ours) >= 4
    for manifest in ours:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_schemas_would_refuse_what_is_wrong() -> None:
    [workload] = of_kind(rendered({}), "StatefulSet")
    workload["spec"]["template"]["spec"]["containers"][0]["readinessProbes"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(workload, KUBERNETES[0], strict=True)


@pytest.mark.parametrize(
    "values",
    [
        {"nats": {"auth": {"kind": "password"}}},
        {"nats": {"url": "nats:4222"}},
        {"comands": {"replicas": 2}},
        {"settings": {"LOG_LEVEL": "debug"}},
    ],
    ids=["a kind of proof", "a URL", "a component", "a setting"],
)
def test_values_that_mean_nothing_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(HelmValuesError):
        rendered(values)


def test_names_are_told_apart(manifests: list[Manifest]) -> None:
    names = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests]
    assert len(names) == len(set(names))


def test_a_pod_is_not_roots_and_writes_only_to_its_volumes(manifests: list[Manifest]) -> None:
    found = list(pods(manifests))
    assert {component for component, _, _ in found} <= {*SERVICES}
    for component, _, template in found:
        pod = template["spec"]
        [container] = pod["containers"]
        assert container["args"] == ["run", component]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        assert writable == {"/var/lib/keyscope", "/tmp"}
        assert {probe for probe in container if probe.endswith("Probe")} == {
            "startupProbe", "livenessProbe", "readinessProbe"
        }  # fmt: skip
        assert pod["terminationGracePeriodSeconds"] > 10


def test_a_pods_settings_are_ours_and_their_files_are_mounted(
    manifests: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {f"KEYSCOPE_{name.upper()}" for name in Settings.model_fields}
    known |= {f"KEYSCOPE_{name.upper()}_FILE" for name in SECRETS}
    for component, workload, template in pods(manifests):
        [container] = template["spec"]["containers"]
        environment = {each["name"]: each["value"] for each in container["env"]}
        assert environment.keys() <= known
        root = tmp_path / component
        mounted = mount(template["spec"], workload, root)
        named = {value for value in environment.values() if value.startswith("/etc/")}
        assert named == mounted
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value.replace("/etc/", f"{root}/etc/"))
            settings = Settings()
        assert settings.metrics_port == 9100
        assert settings.metrics_host == "0.0.0.0"
        writes = component in {"commands", "relay"}
        assert settings.event_store_url.startswith("postgresql://") == writes


def mount(pod: Manifest, workload: Manifest, root: Path) -> set[str]:
    """Write the files that the pod's secrets would be, and return their paths."""
    claims = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = pod["containers"][0]["volumeMounts"]
    assert {each["name"] for each in mounts} == volumes.keys() | claims
    paths = set()
    for each in mounts:
        secret = volumes.get(each["name"], {}).get("secret")
        keys = [item["path"] for item in secret.get("items", [])] or ["tls.crt", "tls.key"] if secret else []
        for key in keys:
            path = f"{each['mountPath']}/{key}"
            paths.add(path)
            file = Path(f"{root}{path}")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("postgresql://keyscope@db/keyscope")
    return paths


def test_whoever_selects_pods_finds_them_and_their_ports(manifests: list[Manifest]) -> None:
    for manifest in of_kind(manifests, "Service", "PodDisruptionBudget", "NetworkPolicy", "Deployment", "StatefulSet"):
        spec = manifest["spec"]
        selector = spec.get("podSelector") or spec["selector"]
        found = selected(manifests, selector.get("matchLabels", selector))
        assert found, manifest["metadata"]["name"]
        ports = [port.get("targetPort") for port in spec.get("ports", [])]
        ports += [port["port"] for rule in spec.get("ingress", []) for port in rule["ports"]]
        for pod in found:
            assert set(ports) <= {port["name"] for port in pod["containers"][0]["ports"]}
    services = {service["metadata"]["name"] for service in of_kind(manifests, "Service")}
    assert all(workload["spec"]["serviceName"] in services for workload in of_kind(manifests, "StatefulSet"))
    workloads = {
        (kind, workload["metadata"]["name"]) for kind in ("StatefulSet",) for workload in of_kind(manifests, kind)
    }
    for scaler in of_kind(manifests, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) in workloads


def test_the_alerts_are_those_of_the_repository() -> None:
    [rule] = of_kind(rendered(VALUES["everything"]), "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
    [monitor] = of_kind(rendered(VALUES["everything"]), "ServiceMonitor")
    [service] = [each for each in of_kind(rendered({}), "Service") if each["spec"].get("clusterIP") == "None"]
    assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "keyscope"
    assert 'job="keyscope"' in json.dumps(rule).replace("\\", "")
