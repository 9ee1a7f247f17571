"""Heavy work has threads of its own, whose queue is bounded, and its modules are imported off the event loop."""

import subprocess
import sys

import pytest

from service import thinking
from service.profile_schemas import profile_example
from service.recommend_schemas import recommend_example
from service.world import HEAVY
from tests.reference import ROOT
from tests.stand_ins import MODEL

AUTO = {"strategy": "auto", "budget": {"samples": 4}}
CALLS = {
    "/v1/budget/recommend": recommend_example() | {"model": MODEL},
    "/v1/profiles": profile_example(MODEL) | {"verifier": "judge"},
    "/v1/chat/completions": {
        "model": MODEL,
        "messages": [{"role": "user", "content": "What is 7 + 8?"}],
        "scaling": AUTO,
    },
}


@pytest.mark.parametrize("path", CALLS)
async def test_what_would_wait_too_long_is_told_to_come_again(served, monkeypatch, path):
    with monkeypatch.context() as full:
        full.setattr(thinking, "MOST_WAITING", -thinking.THREADS)
        refused = await served.client.post(path, json=CALLS[path])
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "too_busy")
    assert refused.headers["retry-after"] == "1"
    served.script(["15"] * 64)
    assert (await served.client.post(path, json=CALLS[path])).status_code == 200


async def test_feedback_and_runs_under_way_are_not_refused(served, monkeypatch):
    served.script(["15"] * 64)
    id = (await served.chat(scaling={"budget": {"samples": 2}})).json()["id"]
    monkeypatch.setattr(thinking, "MOST_WAITING", -thinking.THREADS)
    told = await served.client.post("/v1/feedback", json={"id": id, "correct": True})
    assert told.status_code == 200


def test_a_world_imports_what_takes_long_behind_its_start():
    code = f"""if True:
        import asyncio, sys
        from service.settings import WorldConfig, load_settings
        from service.world import World
        heavy = {HEAVY!r}
        assert not set(heavy) & set(sys.modules)
        async def run():
            config = WorldConfig.model_validate({{"models": [{{"name": "m", "urls": ["http://127.0.0.1:9"]}}]}})
            async with World(load_settings(redis_url="redis://127.0.0.1:9"), config):
                while not set(heavy) <= set(sys.modules):
                    await asyncio.sleep(0.01)
        asyncio.run(run())
    """
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=60).returncode == 0
