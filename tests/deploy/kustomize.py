"""What `kubectl kustomize` makes of a folder, for the part of kustomize that deploy/kubernetes uses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
ROOT = Path("deploy/kubernetes")
BASE, RAY = ROOT / "base", ROOT / "overlays/ray"
NAME = "app.kubernetes.io/name"
KNOWN = {"apiVersion", "kind", "namespace", "labels", "resources", "configMapGenerator", "images", "patches"}


def build(folder: Path) -> list[Manifest]:
    """The manifests of `folder`; generated names lack the digest kustomize adds. Fails on what it does not know."""
    told = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert told.keys() <= KNOWN, told.keys() - KNOWN
    made: list[Manifest] = []
    for resource in told["resources"]:
        path = folder / resource
        made += build(path) if path.is_dir() else [*yaml.safe_load_all(path.read_text())]
    for generated in told.get("configMapGenerator", []):
        data = {name: (folder / name).read_text() for name in generated["files"]}
        config = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": generated["name"]},
            "data": data,
        }
        if generated.get("behavior") == "replace":
            (old,) = [one for one in made if key(one) == key(config)]
            made.remove(old)
        made.append(config)
    for patch in told.get("patches", []):
        change = yaml.safe_load(patch["patch"])
        assert change.pop("$patch") == "delete"
        (target,) = [one for one in made if key(one) == key(change)]
        made.remove(target)
    for one in made:
        if one["kind"] != "Namespace":
            one["metadata"]["namespace"] = told["namespace"]
        for image in told.get("images", []):
            _rename(one, image)
    return made


def key(manifest: Manifest) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]


def _rename(part: Any, image: dict[str, str]) -> None:
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _rename(inner, image)
    if isinstance(part, dict) and part.get("image") == image["name"]:
        part["image"] = f"{image['newName']}:{image['newTag']}"


def pods(manifests: list[Manifest]) -> Iterator[tuple[Manifest, Manifest, dict[str, str]]]:
    """Each workload, its pod's spec, and the labels that its pods have, those of its operator too."""
    for one in manifests:
        if one["kind"] in ("Deployment", "StatefulSet"):
            template = one["spec"]["template"]
            yield one, template["spec"], template["metadata"]["labels"]
        elif one["kind"] == "RayCluster":
            groups = [("head", one["spec"]["headGroupSpec"])]
            groups += [("worker", group) for group in one["spec"]["workerGroupSpecs"]]
            for node, group in groups:
                own = {"ray.io/cluster": one["metadata"]["name"], "ray.io/node-type": node}
                yield one, group["template"]["spec"], group["template"]["metadata"]["labels"] | own


def containers(manifests: list[Manifest]) -> Iterator[tuple[Manifest, Manifest]]:
    for _, spec, _ in pods(manifests):
        for container in spec["containers"]:
            yield spec, container


def of(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [one for one in manifests if one["kind"] == kind]


def matches(selector: Manifest, labels: dict[str, str]) -> bool:
    plain = selector.get("matchLabels", {}).items() <= labels.items()
    return plain and all(
        labels.get(one["key"]) in one["values"] for one in selector.get("matchExpressions", [])
    )
