"""Prometheus' configuration, alerts, dashboard and what autoscaling reads: valid, and about metrics that exist."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import yaml
from prometheus_client.parser import text_string_to_metric_families

from engines.simulated.engine import SimulatedEngine
from engines.simulated.world import SimulatedWorld
from tests.engines.simulated.serving import serving_world
from tests.service.live import live

ALERTS = Path("deploy/alerts.yml")
DASHBOARD = json.loads(Path("deploy/grafana/dashboards/aliquot.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ADAPTER = yaml.safe_load(Path("deploy/kubernetes/prometheus-adapter.yaml").read_text())["rules"]["custom"]
AUTOSCALING = [*yaml.safe_load_all(Path("deploy/kubernetes/base/autoscaling.yaml").read_text())]
OTHERS = {
    # Prometheus' own, and those of the exporters that docker-compose.yml starts.
    *("up", "nginx_up", "nginx_connections_active", "nginx_connections_waiting"),
    *("redis_up", "redis_memory_used_bytes", "redis_memory_max_bytes"),
}
SELECTOR = re.compile(r"(?<![\w\"~])((?:aliquot|vllm|redis|nginx|up)[\w:]*)(?:\{([^}]*)\})?(?![\w(\"])")


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def shown() -> Iterator[str]:
    """The dashboard's expressions, with Grafana's variables filled in."""
    for panel in PANELS:
        for target in panel["targets"]:
            expr = target["expr"].replace("$__rate_interval", "1m").replace("$__range", "6h")
            yield expr.replace("$model", ".*")


def selected(expr: str) -> Iterator[tuple[str, set[str]]]:
    """The metrics of an expression, and the labels by which each is selected."""
    for name, matchers in SELECTOR.findall(expr):
        yield name, {*re.findall(r"(\w+)\s*[=!]", matchers)}


def labels_of(text: str) -> dict[str, set[str]]:
    """The series of a /metrics page, and the labels of each; of a metric that counts nothing yet there are none."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        counter = "_total" if family.type == "counter" else ""
        found.setdefault(f"{family.name}{counter}", set())
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


async def exported() -> dict[str, set[str]]:
    """Of a service that has answered and been judged, and of an engine."""
    async with (
        live(["15"] * 8) as service,
        serving_world(SimulatedEngine(SimulatedWorld())) as engine,
        httpx.AsyncClient() as client,
    ):
        answer = (await service.chat(scaling={"budget": {"samples": 2}})).json()
        judged = await service.client.post("/v1/feedback", json={"id": answer["id"], "correct": True})
        assert judged.status_code == 200
        pages = (await service.client.get("/metrics")).text, (await client.get(f"{engine}/metrics")).text
    return labels_of(pages[0]) | labels_of(pages[1])


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_configuration_and_the_rules() -> None:
    promtool("check", "config", "deploy/prometheus.yml")


def test_alerts_fire_for_what_they_are_about_and_for_nothing_else() -> None:
    promtool("test", "rules", "tests/deploy/data/alerts_test.yml")


def test_each_alert_is_tested_in_both_ways_and_told_to_operators() -> None:
    tested = Path("tests/deploy/data/alerts_test.yml").read_text()
    told = Path("docs/deployment.md").read_text()
    names = [rule["alert"] for rule in rules()]
    assert len({*names}) == len(names)
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]
        assert f"alertname: {rule['alert']}}}" in tested, "silent when all is well"
        assert f'alertname="{rule["alert"]}"' in tested, "fires"
        assert f"`{rule['alert']}`" in told


def test_the_dashboards_expressions_are_promql(tmp_path: Path) -> None:
    recorded = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(shown())]
    file = tmp_path / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    promtool("check", "rules", file)


def test_the_dashboard_is_of_one_piece() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len({*ids}) == len(ids)
    sources = yaml.safe_load(Path("deploy/grafana/provisioning/datasources/prometheus.yml").read_text())
    (uid,) = {source["uid"] for source in sources["datasources"]}
    assert {target["datasource"]["uid"] for panel in PANELS for target in panel["targets"]} == {uid}
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert max(x for x, _ in cells) < 24
        assert not taken & cells, panel["title"]
        taken |= cells


def test_the_dashboard_shows_what_operators_ask_for() -> None:
    shows = " ".join(shown())
    for metric in (
        *(
            "aliquot_requests_total",
            "aliquot_generated_tokens_total",
            "aliquot_tenant_usd_total",
            "aliquot_usd_total",
        ),
        *("aliquot_feedback_total", "aliquot_prefix_cache_hit_tokens_total", "aliquot_engine_seconds_total"),
        *("aliquot_overspends_total", "aliquot_jobs_waiting", "aliquot_refused_total"),
    ):
        assert metric in shows, metric


async def test_every_metric_that_is_shown_or_watched_exists_with_its_labels() -> None:
    exist = await exported()
    asked = [found for expr in (*shown(), *(rule["expr"] for rule in rules())) for found in selected(expr)]
    assert len(asked) > 50
    for name, labels in asked:
        if name not in OTHERS:
            assert name in exist, name
            assert not exist[name] or labels <= exist[name] | {"job", "instance"}, name


async def test_kubernetes_scales_by_metrics_that_exist() -> None:
    exist = await exported()
    wanted = {
        metric["pods"]["metric"]["name"]
        for one in AUTOSCALING
        if one["kind"] == "HorizontalPodAutoscaler"
        for metric in one["spec"]["metrics"]
        if metric["type"] == "Pods"
    }
    given = {rule["name"].get("as", rule["name"]["matches"]) for rule in ADAPTER}
    assert wanted == given
    for rule in ADAPTER:
        (name,) = [name for name, _ in selected(rule["seriesQuery"])]
        assert name == rule["name"]["matches"]
        assert name in exist
