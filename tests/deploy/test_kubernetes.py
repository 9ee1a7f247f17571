"""deploy/kubernetes: valid, closed, and of one piece."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml

from engines.launch import MAX_LOGPROBS
from service.routes.health import ROUTES
from service.settings import Limits, Settings, load_world
from tests.deploy.kustomize import BASE, RAY, ROOT, Manifest, build, containers, key, matches, of, pods

FOLDERS = [BASE, RAY]
OLDEST, NEWEST = "1.33", "1.37"
ENGINE_PORT = 8000


@pytest.fixture(params=FOLDERS, ids=str)
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return build(request.param)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_manifest_follows_kubernetes_schema(manifests: list[Manifest], version: str) -> None:
    for one in manifests:
        if one["kind"] != "RayCluster":  # of an operator; its pods are looked at below
            kubernetes_validate.validate(one, version, strict=True)
    for _, spec, labels in pods(manifests):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "labels": labels}, "spec": spec}
        kubernetes_validate.validate(pod, version, strict=True)


def test_the_schemas_refuse_what_they_do_not_know() -> None:
    (one,) = [one for one in build(BASE) if key(one) == ("Deployment", "aliquot")]
    one["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(one, NEWEST, strict=True)


def test_every_file_is_applied_but_the_secret_and_the_adapters_values() -> None:
    applied = {"kustomization.yaml", "secret.example.yaml"}
    for folder in FOLDERS:
        told = yaml.safe_load((folder / "kustomization.yaml").read_text())
        applied |= {*told["resources"], *told["configMapGenerator"][0]["files"]}
    assert {file.name for folder in FOLDERS for file in folder.glob("*.yaml")} <= applied
    assert {file.name for file in ROOT.glob("*.yaml")} == {"prometheus-adapter.yaml"}


def test_names_are_given_once_and_the_namespace_is_made(manifests: list[Manifest]) -> None:
    keys = [key(one) for one in manifests]
    assert len({*keys}) == len(keys)
    (namespace,) = of(manifests, "Namespace")
    assert {one["metadata"].get("namespace") for one in manifests if one is not namespace} == {
        namespace["metadata"]["name"]
    }


def test_selectors_find_the_pods_they_are_about(manifests: list[Manifest]) -> None:
    every = [labels for _, _, labels in pods(manifests)]
    for one in manifests:
        if one["kind"] in ("Deployment", "StatefulSet"):
            assert matches(one["spec"]["selector"], one["spec"]["template"]["metadata"]["labels"])
        selectors = []
        if one["kind"] == "Service":
            selectors = [{"matchLabels": one["spec"]["selector"]}]
        elif one["kind"] == "PodDisruptionBudget":
            selectors = [one["spec"]["selector"]]
        elif one["kind"] == "NetworkPolicy":
            selectors = [one["spec"]["podSelector"]]
        for selector in selectors:
            assert any(matches(selector, labels) for labels in every), key(one)


def test_services_lead_to_ports_that_containers_have(manifests: list[Manifest]) -> None:
    for service in of(manifests, "Service"):
        for port in service["spec"]["ports"]:
            found = [
                named["containerPort"]
                for _, spec, labels in pods(manifests)
                if service["spec"]["selector"].items() <= labels.items()
                for container in spec["containers"]
                for named in container["ports"]
                if named["name"] == port["targetPort"]
            ]
            assert len(found) == 1, key(service)
            # Without an address of its own, a service's port is that of its pods.
            assert service["spec"].get("clusterIP") != "None" or found == [port["port"]]


def test_stateful_sets_name_their_pods_by_a_service(manifests: list[Manifest]) -> None:
    for one in of(manifests, "StatefulSet"):
        (service,) = [
            s for s in of(manifests, "Service") if s["metadata"]["name"] == one["spec"]["serviceName"]
        ]
        assert service["spec"]["clusterIP"] == "None"


def test_probes_ask_routes_that_there_are(manifests: list[Manifest]) -> None:
    served = {"aliquot": {route.path for route in ROUTES}, "vllm": {"/health"}}
    seen = 0
    for _, container in containers(manifests):
        named = {port["name"] for port in container.get("ports", [])}
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            probe = container.get(kind, {})
            if "httpGet" in probe:
                assert probe["httpGet"]["path"] in served[container["name"]]
                assert probe["httpGet"]["port"] in named
                seen += 1
            elif "tcpSocket" in probe:
                assert probe["tcpSocket"]["port"] in named
    assert seen >= 9


def test_what_containers_refer_to_is_there(manifests: list[Manifest]) -> None:
    secret = yaml.safe_load((BASE / "secret.example.yaml").read_text())
    keys = secret["stringData"].keys()
    assert set(secret["stringData"].values()) == {""}
    configs = {one["metadata"]["name"] for one in of(manifests, "ConfigMap")}
    claims = {one["metadata"]["name"] for one in of(manifests, "PersistentVolumeClaim")}
    for workload, spec, _ in pods(manifests):
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        own = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
        assert {
            volume["configMap"]["name"] for volume in volumes.values() if "configMap" in volume
        } <= configs
        used = {
            volume["persistentVolumeClaim"]["claimName"]
            for volume in volumes.values()
            if "persistentVolumeClaim" in volume
        }
        assert used <= claims
        for container in spec["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes.keys() | own
            for variable in container.get("env", []):
                asked = variable.get("valueFrom", {}).get("secretKeyRef")
                assert asked is None or (asked["name"] == secret["metadata"]["name"] and asked["key"] in keys)


def test_pods_have_no_more_rights_than_they_need(manifests: list[Manifest]) -> None:
    for spec, container in containers(manifests):
        assert spec["automountServiceAccountToken"] is False
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert "memory" in container["resources"]["limits"]
        assert re.search(r":v?\d+\.\d+", container["image"]), "an image's version is named"
        if container["name"] in ("aliquot", "redis"):
            assert spec["securityContext"]["runAsNonRoot"] is True
            assert spec["securityContext"]["runAsUser"] > 0
            assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        else:
            assert spec["enableServiceLinks"] is False, "VLLM_PORT of a service would be taken for a setting"


def test_the_services_environment_makes_settings_and_its_end_has_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ((_, spec, _),) = [found for found in pods(build(BASE)) if found[0]["metadata"]["name"] == "aliquot"]
    (container,) = spec["containers"]
    secret = {"redis-url": "redis://:x@redis:6379/0", "admin-key": "0123456789abcdef"}
    for variable in container["env"]:
        value = variable.get("value") or secret[variable["valueFrom"]["secretKeyRef"]["key"]]
        monkeypatch.setenv(variable["name"], value)
    monkeypatch.setenv("ALIQUOT_HOST", "0.0.0.0")  # of the image
    settings = Settings()
    assert settings.keys_required
    assert settings.config == Path(container["volumeMounts"][0]["mountPath"]) / "aliquot.yaml"
    ending = (
        container["lifecycle"]["preStop"]["sleep"]["seconds"] + settings.serves_on + settings.grace_seconds
    )
    assert spec["terminationGracePeriodSeconds"] > ending
    assert "EXPOSE 8080" in Path("deploy/Dockerfile").read_text()
    assert container["ports"] == [{"name": "http", "containerPort": 8080}]


def test_engines_are_where_the_service_looks_for_them(manifests: list[Manifest], tmp_path: Path) -> None:
    (config,) = of(manifests, "ConfigMap")
    (tmp_path / "aliquot.yaml").write_text(config["data"]["aliquot.yaml"])
    world = load_world(tmp_path / "aliquot.yaml")
    asked = [(model.served_name or model.name, url) for model in world.models for url in model.urls]
    asked += [
        (one.model, one.url) for one in world.verifiers if hasattr(one, "url") and hasattr(one, "model")
    ]
    services = {one["metadata"]["name"]: one for one in of(manifests, "Service")}
    scaled = {
        one["spec"]["scaleTargetRef"]["name"]: one["spec"]["maxReplicas"]
        for one in of(manifests, "HorizontalPodAutoscaler")
    }
    numbers: dict[str, list[int]] = {}
    for served, url in asked:
        *pod, name = (urlsplit(str(url)).hostname or "").split(".")
        assert urlsplit(str(url)).port == ENGINE_PORT == services[name]["spec"]["ports"][0]["port"]
        if pod:
            assert services[name]["spec"]["clusterIP"] == "None"
            numbers.setdefault(name, []).append(int(pod[0].removeprefix(f"{name}-")))
        ((_, spec, _),) = [
            found
            for found in pods(manifests)
            if services[name]["spec"]["selector"].items() <= found[2].items()
        ]
        command = " ".join(spec["containers"][0]["args"])
        assert f"--served-model-name={served} " in command
        if "--runner=pooling" not in command:
            assert "--enable-prompt-tokens-details" in command
            assert f"--max-logprobs={MAX_LOGPROBS}" in command
    for name, found in numbers.items():
        assert found == [*range(scaled[name])]


def test_autoscalers_have_a_workload_and_begin_before_requests_are_refused(manifests: list[Manifest]) -> None:
    workloads = {key(one) for one, _, _ in pods(manifests)}
    for one in of(manifests, "HorizontalPodAutoscaler"):
        target = one["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) in workloads
        (workload,) = [found for found in manifests if key(found) == (target["kind"], target["name"])]
        assert "replicas" not in workload["spec"], "the autoscaler's business"
        if target["name"] == "aliquot":
            assert one["spec"]["minReplicas"] >= 2
            in_flight = one["spec"]["metrics"][0]["pods"]["target"]["averageValue"]
            assert int(in_flight) <= Limits().requests_at_once / 2


def test_redis_is_started_as_by_compose() -> None:
    ((_, spec, _),) = [found for found in pods(build(BASE)) if found[0]["metadata"]["name"] == "redis"]
    compose = yaml.safe_load(Path("docker-compose.yml").read_text())["services"]["redis"]
    assert spec["containers"][0]["command"] == compose["entrypoint"]
    (script,), (composed,) = spec["containers"][0]["args"], compose["command"]
    assert script.split() == composed.replace("$$", "$").split()


def test_one_vllm_everywhere() -> None:
    files = [Path("docker-compose.yml"), *ROOT.rglob("*.yaml"), *ROOT.rglob("Dockerfile")]
    versions = {
        found for file in files for found in re.findall(r"vllm(?:-openai|-ray)?:(v[\d.]+)", file.read_text())
    }
    (tested,) = re.findall(r"^vllm==([\d.]+)$", Path("deploy/engine-gpu.txt").read_text(), re.MULTILINE)
    assert versions == {f"v{tested}"}
