"""50 recorded MATH problems, 8 responses each scored by a real reward model, through the whole service over HTTP."""

import asyncio
import json

import httpx
import pytest

from engines.scripted import ScriptedEngine
from tests.reference import SHARED
from tests.service.live import listening
from tests.stand_ins import MODEL, StandInReward, StandInVllm, serving

FILE = SHARED / "data" / "math_rm8_first50.jsonl"

pytestmark = pytest.mark.skipif(not FILE.exists(), reason="the recorded responses are no part of the project")


async def right_answers(scaling: dict) -> int:
    """How many of the 50 problems' best answers are right, by the record's own flags."""
    problems = [json.loads(line) for line in FILE.read_text().splitlines()]
    by_question = {p["question"]: p for p in problems}
    rewards = {r: s for p in problems for r, s in zip(p["responses"], p["reward"], strict=True)}
    stand_in = StandInVllm(ScriptedEngine(lambda question: by_question[question]["responses"]))
    reward = StandInReward(rewards.__getitem__)
    async with serving(stand_in.app()) as engine_url, serving(reward.app()) as reward_url:
        config = {
            "models": [{"name": MODEL, "urls": [engine_url]}],
            "verifiers": [{"name": "rm", "kind": "outcome_reward", "url": reward_url, "model": "rm"}],
        }
        async with listening(config) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:

            async def ask(problem: dict) -> bool:
                mine = {k: v(problem) if callable(v) else v for k, v in scaling.items()}
                body = {
                    "model": MODEL,
                    "messages": [{"role": "user", "content": problem["question"]}],
                    "scaling": {"budget": {"samples": 8}, "answer": {"format": "math"}, **mine},
                }
                reply = (await client.post("/v1/chat/completions", json=body)).json()
                chosen = problem["responses"].index(reply["choices"][0]["message"]["content"])
                return bool(problem["correct"][chosen])

            return sum(await asyncio.gather(*map(ask, problems)))


async def test_majority_is_right_on_48():
    assert await right_answers({"strategy": "majority"}) == 48


async def test_best_of_8_by_reward_is_right_on_48():
    assert await right_answers({"strategy": "best_of_n", "verifier": "rm"}) == 48


async def test_some_sample_is_right_on_49():
    def exact(problem):
        return {"name": "exact", "reference": problem["answer"]}

    assert await right_answers({"strategy": "repeated_sampling", "verifier": exact}) == 49
