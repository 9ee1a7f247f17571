"""Stepwise search on real vLLM servers: the process reward that guides it, and the embeddings that tell steps apart."""

import random
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from engines.base import EngineGarbage, Sample
from engines.transport import Transport
from tests.integration.servers import Server, gauge
from verifiers.base import Response, Step
from verifiers.embedding import Embedding
from verifiers.process_reward import ProcessReward

LONG = [{"role": "user", "content": "A farmer has 17 sheep and buys 25 more. How many are there? " * 8}]
STEPS = ("First, note what is given: 17 and 25.\n\n", "Then 17 + 25 = 42.\n\n", "So the answer is 42.")
STEP_TOKEN = "<file_sep>"
"""A special token of the models' tokenizer."""


class Counting(Transport):
    """Counts the calls to each path."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.calls: Counter[str] = Counter()

    async def post(self, path: str, body: Any) -> bytes:
        self.calls[path] += 1
        return await super().post(path, body)


@asynccontextmanager
async def prm(server: Server, **options: Any) -> AsyncGenerator[tuple[ProcessReward, Counting]]:
    http = Counting(server.url)
    try:
        yield ProcessReward("prm", http, server.model, **options), http
    finally:
        await http.close()


def path(steps: Sequence[str]) -> Response:
    text = "".join(steps)
    return Response(Sample(text, (), "stop"), text, None, tuple(Step(step, 1) for step in steps))


async def scores(server: Server, responses: Sequence[Response], **options: Any) -> list[float]:
    async with prm(server, **options) as (reward, _):
        verdict = await reward.score(LONG, responses)
    assert verdict.warnings == ()
    assert verdict.read > 0
    return [score for score in verdict.scores if score is not None]


@pytest.mark.parametrize("aggregate", ["last", "min", "mean", "prod"])
async def test_all_ways_to_read_a_step_agree(
    process_reward_vllm: Server, last_row_vllm: Server, aggregate: str
) -> None:
    asked = [path(STEPS[:n]) for n in (1, 2, 3)] + [path(STEPS[1:])]
    last = await scores(process_reward_vllm, asked, aggregate=aggregate)
    assert all(0 < score < 1 for score in last)
    assert len(set(last)) > 1
    for server, form in ((process_reward_vllm, {"separator": "\n\n"}), (last_row_vllm, {})):
        assert await scores(server, asked, aggregate=aggregate, **form) == pytest.approx(last, abs=1e-4)
    marked = await scores(process_reward_vllm, asked, aggregate=aggregate, step_token=STEP_TOKEN)
    one_row = await scores(last_row_vllm, asked, aggregate=aggregate, step_token=STEP_TOKEN)
    assert one_row == pytest.approx(marked, abs=1e-4)
    assert marked != pytest.approx(last, abs=1e-4)


async def test_a_response_drawn_whole_scores_as_its_steps(process_reward_vllm: Server) -> None:
    whole = Response(Sample("".join(STEPS), (), "stop"), "", None)
    for form in ({}, {"separator": "\n\n"}, {"step_token": STEP_TOKEN}):
        drawn, in_steps = await scores(process_reward_vllm, [whole, path(STEPS)], aggregate="mean", **form)
        assert drawn == in_steps


async def test_the_good_class_is_the_second_of_two(process_reward_vllm: Server) -> None:
    default = await scores(process_reward_vllm, [path(STEPS)])
    bad = await scores(process_reward_vllm, [path(STEPS)], positive_label=0)
    assert default[0] + bad[0] == pytest.approx(1)


def searched(depths: int, width: int) -> list[list[tuple[str, ...]]]:
    """The paths that a search asks about at each depth: every one continues one of the last depth's."""
    rng = random.Random(7)
    frontier: list[tuple[str, ...]] = [()]
    levels = []
    for depth in range(depths):
        words = [
            f"Step {depth}: take {rng.randrange(1000)} and add {rng.randrange(1000)}.\n\n"
            for _ in range(width)
        ]
        frontier = [(*rng.choice(frontier), step) for step in words]
        levels.append(frontier)
    return levels


@pytest.mark.parametrize("form", [{}, {"aggregate": "min"}, {"step_token": STEP_TOKEN, "aggregate": "prod"}])
@pytest.mark.parametrize("server", ["process_reward_vllm", "last_row_vllm"])
async def test_each_depth_is_one_call_for_all_paths(
    request: pytest.FixtureRequest, server: str, form: dict[str, Any]
) -> None:
    async with prm(request.getfixturevalue(server), **form) as (reward, http):
        for depth, paths in enumerate(searched(4, 8), 1):
            verdict = await reward.score(LONG, list(map(path, paths)))
            assert None not in verdict.scores
            assert http.calls["/pooling"] == depth
        steps = sum(len(set(paths)) for paths in searched(4, 8))
        assert http.calls["/tokenize"] == 1 + (4 if "step_token" in form else steps)


async def test_a_server_of_last_rows_reads_shared_prefixes_from_its_cache(last_row_vllm: Server) -> None:
    async def counted() -> tuple[float, float]:
        names = ("vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total")
        return await gauge(last_row_vllm.url, names[0]), await gauge(last_row_vllm.url, names[1])

    before = await counted()
    async with prm(last_row_vllm, aggregate="min") as (reward, _):
        for paths in searched(5, 8):
            await reward.score(LONG, list(map(path, paths)))
    queries, hits = (after - before for after, before in zip(await counted(), before, strict=True))
    assert hits / queries > 0.7


async def test_a_path_beyond_the_context_loses_no_other(process_reward_vllm: Server) -> None:
    async with prm(process_reward_vllm) as (reward, http):
        verdict = await reward.score(LONG, [path(STEPS), path(["word " * 3000])])
        assert verdict.scores[0] is not None
        assert verdict.scores[1] is None
        assert any("reads 2048 tokens" in warning for warning in verdict.warnings)
        assert http.calls["/pooling"] == 1


@pytest.mark.parametrize("token", ["<extra_0>", "ĸĸ"])
async def test_what_is_no_token_of_its_own_cannot_mark_steps(process_reward_vllm: Server, token: str) -> None:
    async with prm(process_reward_vllm, step_token=token) as (reward, _):
        with pytest.raises(EngineGarbage, match="as a token of its own"):
            await reward.score(LONG, [path(STEPS), path(STEPS[:1])])


def dot(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


async def test_embeddings_tell_texts_apart(embedding_vllm: Server) -> None:
    http = Counting(embedding_vllm.url)
    texts = [*STEPS, STEPS[0], "", "word " * 3000]
    embedded = await Embedding("e", http, embedding_vllm.model).embed(texts)
    await http.close()
    first, second, *_ = embedded.vectors
    assert http.calls == {"/v1/embeddings": 1}
    assert len(embedded.vectors) == len(texts)
    assert embedded.vectors[3] == first
    assert dot(first, first) == pytest.approx(1, abs=1e-3)
    assert dot(first, second) < 0.99
    assert embedded.read > 2048
