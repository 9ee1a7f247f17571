"""Who may speak to whom in deploy/kubernetes, and an engine that spans machines."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.deploy.kustomize import BASE, NAME, RAY, Manifest, build, matches, of, pods

ENGINE_PORT = 8000


@pytest.fixture(params=[BASE, RAY], ids=str)
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return build(request.param)


def ports(rule: dict[str, Any]) -> set[int]:
    return {port["port"] for port in rule.get("ports", [])}


def allowed(manifests: list[Manifest], asking: dict[str, str], asked: dict[str, str], port: int) -> bool:
    """Whether policies let a pod with labels `asking` open a connection to `port` of one with labels `asked`."""

    def one_way(direction: str, peer: str, own: dict[str, str], other: dict[str, str]) -> bool:
        policies = [
            p["spec"] for p in of(manifests, "NetworkPolicy") if matches(p["spec"]["podSelector"], own)
        ]
        assert any(direction.capitalize() in policy["policyTypes"] for policy in policies)
        return any(
            not ports(rule) or port in ports(rule)
            for policy in policies
            for rule in policy.get(direction, [])
            for found in rule[peer]
            if "podSelector" in found and matches(found["podSelector"], other)
        )

    return one_way("egress", "to", asking, asked) and one_way("ingress", "from", asked, asking)


def test_pods_reach_whom_they_need_and_nobody_else(manifests: list[Manifest]) -> None:
    found = {labels[NAME]: labels for _, _, labels in pods(manifests)}
    opened = {
        ("aliquot", "redis", 6379),
        ("aliquot", "vllm", ENGINE_PORT),
        ("aliquot", "reward", ENGINE_PORT),
    }
    if "vllm-ray-worker" in found:
        ray = ("vllm", "vllm-ray-worker")
        opened |= {(one, other, port) for one in ray for other in ray for port in (6379, ENGINE_PORT, 8080)}
    for asking, its in found.items():
        for asked, theirs in found.items():
            for port in (6379, ENGINE_PORT, 8080):
                assert allowed(manifests, its, theirs, port) == ((asking, asked, port) in opened), (
                    asking,
                    asked,
                    port,
                )


def test_webhooks_and_hubs_are_outside() -> None:
    outside = [
        peer["ipBlock"]
        for policy in of(build(RAY), "NetworkPolicy")
        for rule in policy["spec"].get("egress", [])
        for peer in rule["to"]
        if "ipBlock" in peer
    ]
    assert len(outside) == 3
    private = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"}
    assert all({*block["except"]} == private for block in outside)


def test_an_engine_over_machines_has_as_many_as_it_is_split_for() -> None:
    (cluster,) = of(build(RAY), "RayCluster")
    head, (workers,) = cluster["spec"]["headGroupSpec"], cluster["spec"]["workerGroupSpecs"]
    (serving,), (working,) = (group["template"]["spec"]["containers"] for group in (head, workers))
    command = " ".join(serving["args"])
    sizes = {
        name: int(size) for name, size in re.findall(r"--(tensor|pipeline)-parallel-size=(\d+)", command)
    }
    assert "--distributed-executor-backend=ray" in command
    assert sizes["pipeline"] == 1 + workers["replicas"]
    for container in (serving, working):
        assert container["resources"]["limits"]["nvidia.com/gpu"] == sizes["tensor"]
        assert "/dev/shm" in {mount["mountPath"] for mount in container["volumeMounts"]}
    assert serving["image"] == working["image"]
    image = (RAY / "Dockerfile").read_text()
    assert f"=={cluster['spec']['rayVersion']}" in image
    assert f"FROM vllm/vllm-openai:{serving['image'].rpartition(':')[2]}\n" in image
    assert cluster["metadata"]["annotations"]["ray.io/overwrite-container-cmd"] == "true"
    assert all("KUBERAY_GEN_RAY_START_CMD" in " ".join(one["args"]) for one in (serving, working))
    (volume,) = [v for v in head["template"]["spec"]["volumes"] if "persistentVolumeClaim" in v]
    (claim,) = [
        one
        for one in of(build(RAY), "PersistentVolumeClaim")
        if one["metadata"]["name"] == volume["persistentVolumeClaim"]["claimName"]
    ]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
