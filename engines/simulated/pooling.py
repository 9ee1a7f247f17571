"""The pooling half of a simulated vLLM server: what its rewards and its embedding model answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

from engines.simulated.wire import PoolingAsked, Refusal
from engines.simulated.words import SEP, Tokens, decode, encode
from engines.simulated.world import SimulatedWorld

PROCESS: Final = "simulated-prm"
OUTCOME: Final = "simulated-orm"
HACKABLE: Final = "simulated-orm-hackable"
EMBEDDING: Final = "simulated-embedding"

_UNREAD = [0.5, 0.5]


def pooled(world: SimulatedWorld, asked: PoolingAsked) -> tuple[list[dict[str, Any]], int]:
    """The data of /pooling, and the tokens read.

    Of the process reward a row [bad, good] a token, of an outcome reward one number a text. Raises Refusal.
    """
    texts = asked.texts(world.settings.context)
    if asked.model == PROCESS:
        values: list[Any] = [process_rows(world, text) for text in texts]
    else:
        values = [[score] for score in _outcomes(world, asked, texts)]
    data = [{"index": i, "object": "pooling", "data": value} for i, value in enumerate(values)]
    return data, sum(map(len, texts))


def classified(world: SimulatedWorld, asked: PoolingAsked) -> tuple[list[dict[str, Any]], int]:
    """The data of /classify, of outcome rewards alone: they have one class."""
    texts = asked.texts(world.settings.context)
    data = [
        {"index": i, "label": "LABEL_0", "probs": [score], "num_classes": 1}
        for i, score in enumerate(_outcomes(world, asked, texts))
    ]
    return data, sum(map(len, texts))


def embedded(world: SimulatedWorld, asked: PoolingAsked) -> tuple[list[dict[str, Any]], int]:
    """The data of /v1/embeddings: a vector a text. Texts may be of any length."""
    if asked.model != EMBEDDING:
        raise Refusal(f"The model {asked.model} does not embed; {EMBEDDING} does.", "model")
    given = [asked.input] if isinstance(asked.input, str) else asked.input or []
    if given and all(isinstance(text, str) and text for text in given):
        texts: Sequence[str] = given
    else:
        texts = [decode(tokens) for tokens in asked.texts(world.settings.context)]
    data = [
        {"index": i, "object": "embedding", "embedding": world.embedding(text)}
        for i, text in enumerate(texts)
    ]
    return data, sum(len(encode(text)) for text in texts)


def process_rows(world: SimulatedWorld, tokens: Tokens) -> list[list[float]]:
    """The process reward at each token, as [bad, good]: every token of a step has the score of the path to its end."""
    problem, solution = world.split(tokens)
    scores = world.process_scores(problem, decode(solution))
    rows = [_UNREAD] * (len(tokens) - len(solution))
    done = 0
    for ends, run in groupby(solution, lambda token: token == SEP):
        score = scores[min(done, len(scores) - 1)] if scores else 0.5
        rows += [[1 - score, score]] * len(list(run))
        done += ends
    return rows


def _outcomes(world: SimulatedWorld, asked: PoolingAsked, texts: Sequence[Tokens]) -> list[float]:
    if asked.model not in (OUTCOME, HACKABLE):
        raise Refusal(f"The model {asked.model} scores no whole texts; {OUTCOME} does.", "model")
    hackable = asked.model == HACKABLE
    scores = []
    for text in texts:
        problem, solution = world.split(text)
        scores.append(world.outcome_score(problem, decode(solution), hackable=hackable))
    return scores if asked.use_activation is not False else [math.log(s / (1 - s)) for s in scores]
