"""docker-compose.yml and what it mounts: valid, closed, and of one piece."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from engines import guard
from engines.launch import MAX_LOGPROBS, free_port
from service.settings import Settings, WorldConfig, load_world
from tests.deploy.nginx import TEMPLATE

COMPOSE = yaml.safe_load(Path("docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
CHECK = Path(sys.executable).with_name("check-jsonschema")
OURS = {"service": "deploy/Dockerfile", "vllm-cpu": "deploy/engine-cpu.Dockerfile"}
WORLDS = {"gpu": Path("deploy/aliquot.yaml"), "cpu": Path("deploy/aliquot-cpu.yaml")}
EXAMPLE = dict(
    line.split("=", 1) for line in Path(".env.example").read_text().splitlines() if line and line[0] != "#"
)


def seconds(duration: str) -> float:
    return float(duration.removesuffix("s"))


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """What each path in the container is on the host, or the name of its volume; variables have their defaults."""
    given = [re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", mount) for mount in service.get("volumes", [])]
    return {target: source for source, target, *_ in (mount.split(":") for mount in given)}


def reachable(asking: str, asked: str) -> bool:
    return bool({*SERVICES[asking]["networks"]} & {*SERVICES[asked]["networks"]})


def test_it_follows_the_schema_of_compose_files() -> None:
    checked = subprocess.run(
        [CHECK, "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_can_change_nothing_but_its_volumes(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "pid", "ipc"} & service.keys()
    assert "mem_limit" in service
    assert "/var/run/docker.sock" not in mounts(service).values()


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_runs_as_an_ordinary_user(name: str) -> None:
    if name in OURS:
        last_stage = Path(OURS[name]).read_text().rpartition("\nFROM ")[2]
        assert re.search(r"^USER 10001:10001$", last_stage, re.MULTILINE)
    elif SERVICES[name]["image"].startswith("vllm/"):
        assert "user" not in SERVICES[name]  # the image wants root, who has no capabilities here
    else:
        assert int(SERVICES[name]["user"].split(":")[0]) > 0


@pytest.mark.parametrize("name", SERVICES)
def test_an_images_version_is_named(name: str) -> None:
    service = SERVICES[name]
    tag = service["image"].rpartition(":")[2]
    assert tag == "local" if name in OURS else re.match(r"v?\d+\.\d+", tag)
    if name in OURS:
        assert service["build"] == {"context": ".", "dockerfile": OURS[name]}


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_container_waits_for_tells_its_health(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert how["condition"] == "service_healthy"
        told = "healthcheck" in SERVICES[other] or "HEALTHCHECK" in Path(OURS[other]).read_text()
        assert told, other
        # What another profile has is not there to be waited for.
        assert how.get("required", True) == (
            SERVICES[other].get("profiles") == SERVICES[name].get("profiles")
        )


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_is_there(name: str) -> None:
    for target, source in mounts(SERVICES[name]).items():
        assert target.startswith("/")
        if source.startswith("."):
            assert Path(source).exists(), source
        else:
            assert source in COMPOSE["volumes"]
    assert {*SERVICES[name].get("networks", [])} <= COMPOSE["networks"].keys()


def test_only_the_load_balancer_is_offered_to_others() -> None:
    offered = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert [name for name, ports in offered.items() if not ports[0].startswith("127.0.0.1:")] == ["nginx"]
    assert EXAMPLE["ALIQUOT_ADDRESS"].startswith("127.0.0.1:")


def test_the_environments_example_names_what_is_asked_for_and_holds_no_secret() -> None:
    text = Path("docker-compose.yml").read_text()
    used = {found[1]: found[2] for found in re.finditer(r"(?<!\$)\$\{(\w+)(:[-?][^}]*)?\}", text)}
    assert used.keys() == EXAMPLE.keys() - {"COMPOSE_PROFILES"}
    required = {name for name, how in used.items() if how == ":?"}
    assert required == {"ALIQUOT_ADMIN_KEY", "REDIS_PASSWORD", "GRAFANA_PASSWORD"}
    assert all(EXAMPLE[name] == "" for name in (*required, "HF_TOKEN"))
    profiles = {profile for service in SERVICES.values() for profile in service.get("profiles", [])}
    assert EXAMPLE["COMPOSE_PROFILES"] in profiles
    assert Path(EXAMPLE["ALIQUOT_WORLD"]) == WORLDS[EXAMPLE["COMPOSE_PROFILES"]]
    assert ".env\n" in Path(".gitignore").read_text()


def test_the_services_environment_makes_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SERVICES["service"]["environment"].items():
        monkeypatch.setenv(name, re.sub(r"\$\{\w+:\?\}", "0123456789abcdef", value))
    monkeypatch.setenv("ALIQUOT_HOST", "0.0.0.0")  # of the image
    settings = Settings()
    assert settings.keys_required
    assert settings.redis_url
    assert urlsplit(settings.redis_url.get_secret_value()).hostname == "redis"
    assert str(settings.config) in mounts(SERVICES["service"])
    assert seconds(SERVICES["service"]["stop_grace_period"]) > settings.serves_on + settings.grace_seconds


@pytest.mark.parametrize("profile", WORLDS)
def test_a_world_names_engines_of_its_profile(profile: str) -> None:
    world = load_world(WORLDS[profile])
    assert isinstance(world, WorldConfig)
    urls = [(model.name, str(url)) for model in world.models for url in model.urls]
    urls += [(getattr(one, "model", ""), str(one.url)) for one in world.verifiers if hasattr(one, "url")]
    for served, url in urls:
        engine = SERVICES[urlsplit(url).hostname or ""]
        assert engine["profiles"] == [profile]
        assert urlsplit(url).port == 8000
        assert reachable("service", urlsplit(url).hostname or "")
        command = " ".join(engine.get("command", [])) or Path("deploy/engine-cpu.Dockerfile").read_text()
        assert re.search(rf'--served-model-name(=|", "){served}\b', command)
        if "--runner=pooling" not in command:
            assert "--enable-prompt-tokens-details" in command
            assert re.search(rf'--max-logprobs(=|", "){MAX_LOGPROBS}\b', command)


def test_nginx_gets_what_its_configuration_asks_for() -> None:
    nginx = SERVICES["nginx"]
    template = f"{TEMPLATE.name}.template"
    assert mounts(nginx)[f"/etc/nginx/templates/{template}"] == f"./{TEMPLATE}"
    asked = {*re.findall(r"\$\{(\w+)\}", TEMPLATE.read_text())}
    environment = nginx["environment"]
    given = {name for name in environment if re.search(environment["NGINX_ENVSUBST_FILTER"], name)}
    assert asked == given
    folder = environment["NGINX_ENVSUBST_OUTPUT_DIR"]
    assert nginx["command"][:5] == ["nginx", "-p", f"{folder}/", "-c", f"{folder}/{TEMPLATE.name}"]
    assert any(mount.startswith(f"{folder}:") for mount in nginx["tmpfs"])
    (upstream,) = re.findall(
        r"server (\S+):(\d+) resolve max_fails=1 fail_timeout=2s;", environment["ALIQUOT_UPSTREAMS"]
    )
    assert upstream == ("service", "8080")
    assert "EXPOSE 8080" in Path("deploy/Dockerfile").read_text()
    assert reachable("nginx", "service")
    assert nginx["ports"][0].endswith(f":{environment['ALIQUOT_LISTEN']}")
    exporter = SERVICES["nginx-exporter"]
    assert exporter["network_mode"] == "service:nginx"
    assert environment["ALIQUOT_STATUS"] in exporter["command"][0]


def test_prometheus_asks_containers_that_it_can_reach() -> None:
    mounted = mounts(SERVICES["prometheus"])
    assert mounted["/etc/prometheus/prometheus.yml"] == "./deploy/prometheus.yml"
    jobs = {
        job["job_name"]: job
        for job in yaml.safe_load(Path("deploy/prometheus.yml").read_text())["scrape_configs"]
    }
    names = [
        name for job in jobs.values() for found in job.get("dns_sd_configs", []) for name in found["names"]
    ]
    names += [
        target.split(":")[0]
        for job in jobs.values()
        for static in job.get("static_configs", [])
        for target in static["targets"]
    ]
    assert {"service", "vllm", "vllm-cpu", "reward", "nginx", "redis-exporter"} == {*names}
    assert all(reachable("prometheus", name) for name in names)


def test_grafana_finds_its_dashboards_and_prometheus() -> None:
    mounted = mounts(SERVICES["grafana"])
    provisioning = Path(mounted["/etc/grafana/provisioning"])
    (provider,) = yaml.safe_load((provisioning / "dashboards/aliquot.yml").read_text())["providers"]
    assert Path(mounted[provider["options"]["path"]]) == Path("deploy/grafana/dashboards")
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert reachable("grafana", "prometheus")


def test_redis_starts_as_told_takes_its_password_alone_and_refuses_rather_than_forgets(
    tmp_path: Path,
) -> None:
    service = SERVICES["redis"]
    (script,) = service["command"]
    port = str(free_port())
    script = script.replace("$$", "$").replace(
        "--dir /data", f"--dir {tmp_path} --bind 127.0.0.1 --port {port}"
    )
    guarded = [sys.executable, "-I", guard.__file__, str(os.getpid()), *service["entrypoint"], script]
    environment = {**os.environ, "REDIS_PASSWORD": "not-a-secret"}
    server = subprocess.Popen(guarded, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)

    def shell(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", line], env=environment, capture_output=True, text=True, check=False
        )

    kind, check = service["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    healthy = check.replace("$$", "$").replace("redis-cli", f"redis-cli -p {port}")
    try:
        while shell(healthy).returncode:
            assert server.poll() is None
            time.sleep(0.02)
        assert "NOAUTH" in shell(f"redis-cli -p {port} ping").stdout
        told = shell(f'REDISCLI_AUTH="$REDIS_PASSWORD" redis-cli -p {port} config get "*"').stdout.split("\n")
        settings = dict(zip(told[::2], told[1::2], strict=False))
        running = guard.members(server.pid) - {server.pid}
        (process,) = [
            Path(f"/proc/{pid}/cmdline").read_text() for pid in running
        ]  # no shell that would keep a signal
    finally:
        server.terminate()
        server.wait()
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "always"
    assert settings["save"] == ""
    assert settings["maxmemory-policy"] == "noeviction"
    assert 0 < int(settings["maxmemory"]) <= 2**30
    assert any(tmp_path.rglob("*.aof"))
    assert process.startswith("redis-server")
    assert "not-a-secret" not in process
