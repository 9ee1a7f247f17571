"""How long a recommendation takes: the goal is 20 ms for one model and 100 ms for six.

.venv/bin/python benchmarks/recommend.py                     # the table; about a minute
.venv/bin/python benchmarks/recommend.py --requests 20 --models 1

Every model has a profile of its own and two verifiers: an outcome reward on a shape of its own, and a judge, which is
the model itself. Requests differ in budget, target, prompt, room, difficulty, price of a wrong answer and number of
answers, and between two of them every profile hears of one more right or wrong answer, so that no difficulty is met
twice. The first time is that of a fresh process: tables of votes, which a calibration alone makes again. Milliseconds
are CPU time of one thread, which other processes lengthen little.
"""

from __future__ import annotations

import argparse
import math
import platform
import random
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles
from time import thread_time

import numpy as np
from scipy.special import expit

sys.path.insert(0, str(Path(__file__).parents[1]))

from budgets.difficulty import Beta
from budgets.fitting import DifficultyFit, WrongAnswersFit, fit_verifier
from budgets.hardware import HARDWARE
from budgets.latency import Factors
from budgets.length_fitting import LengthFit
from budgets.lengths import LogNormal
from budgets.models import ModelShape
from budgets.profiles import Profile
from budgets.recommend import Caps, Offer, VerifierOffer, Wanted, recommend, warm
from budgets.tariff import Tariff
from budgets.wrong_answers import WrongAnswers

GOALS = {1: 20.0, 6: 100.0}
"""Milliseconds, by the number of models."""
SHAPES = (
    ModelShape(0.75e9, 0.6e9, num_layers=28, num_attention_heads=16, num_kv_heads=8, head_dim=128),
    ModelShape(2.0e9, 1.7e9, num_layers=28, num_attention_heads=16, num_kv_heads=8, head_dim=128),
    ModelShape(4.0e9, 4.0e9, num_layers=36, num_attention_heads=32, num_kv_heads=8, head_dim=128),
    ModelShape(8.2e9, 7.6e9, num_layers=36, num_attention_heads=32, num_kv_heads=8, head_dim=128),
    ModelShape(14.8e9, 14.0e9, num_layers=40, num_attention_heads=40, num_kv_heads=8, head_dim=128),
    ModelShape(32.8e9, 32.0e9, num_layers=64, num_attention_heads=64, num_kv_heads=8, head_dim=128),
)
REWARD = SHAPES[0]
PROBLEMS, SAMPLES = 200, 16
ANSWERS = (1, 2, 16, 128)
"""What requests ask for as k."""


def profile(rng: np.random.Generator, mean: float) -> Profile:
    """A calibration on 200 problems of 16 samples that nobody had to draw: the second verifier is no normal one."""
    total = rng.uniform(1.0, 3.0)
    scores = [[], []], [[], []]  # type: tuple[list[list[list[float]]], list[list[list[float]]]]
    for _ in range(PROBLEMS):
        right = int(rng.binomial(SAMPLES, mean))
        for verifier, apart in zip(scores, (1.8, 1.0), strict=True):
            odd = 4.0 * (verifier is scores[1]) * (rng.random(SAMPLES - right) < 0.05)
            verifier[0].append(expit(rng.normal(apart / 2, 1.0, right)).tolist())
            verifier[1].append(expit(rng.normal(-apart / 2, 1.0, SAMPLES - right) + odd).tolist())
    lengths = LogNormal(math.log(rng.uniform(300, 1500)), 0.6)
    return Profile(
        DifficultyFit(Beta(total * mean, total * (1 - mean)), ((0.02, 0.0), (0.0, 0.05))),
        WrongAnswersFit(WrongAnswers.even(int(rng.integers(5, 40)), 0.4), 0.1),
        LengthFit(lengths, LogNormal(lengths.mean + 0.3, 0.7), mean, 0.02, 0.02),
        {"reward": fit_verifier(*scores[0]), "judge": fit_verifier(*scores[1])},
        cap=4096,
        source="calibrated",
        problems=PROBLEMS,
        samples=PROBLEMS * SAMPLES,
    )


def offers(models: int, seed: int = 0) -> list[Offer]:
    """So many models of rising size and accuracy, each on an accelerator of its own."""
    rng = np.random.default_rng(seed)
    gpu, factors = HARDWARE["h100-sxm"], Factors(1.2, 1.3, (0.02, 0.0, 0.01), 0.02, 200)
    found = []
    for i, shape in enumerate(SHAPES[:models]):
        tariff = Tariff(shape, gpu, 2.5, concurrency=8, factors=factors)
        verifiers = (
            VerifierOffer("reward", Tariff(REWARD, gpu, 2.5, concurrency=8)),
            VerifierOffer("judge", tariff, generates=21),
        )
        known = profile(rng, 0.25 + 0.1 * i)
        found.append(Offer(f"model-{i}", known, tariff, prompt_tokens=400, room=8192, verifiers=verifiers))
    return found


def wishes(rng: random.Random, most: int) -> Wanted:
    """One of the things that are asked for."""
    caps = {
        "samples": Caps(samples=rng.choice((4, 16, 64, 256))),
        "tokens": Caps(tokens=10 ** rng.uniform(3, 5)),
        "usd": Caps(usd=10 ** rng.uniform(-3.5, -2)),
        "seconds": Caps(seconds=10 ** rng.uniform(1, 2)),
        "all": Caps(samples=64, tokens=50_000, seconds=60.0, usd=0.01),
        "none": Caps(),
    }[rng.choice(("samples", "tokens", "usd", "seconds", "all", "none"))]
    allowed = min(most, caps.samples or most)
    target = rng.uniform(0.3, 0.99) if not caps.given() or rng.random() < 0.3 else None
    return Wanted(
        caps,
        target,
        k=rng.choice([k for k in (1, 1, 1, *ANSWERS) if k <= allowed]),
        most_samples=most,
        wrong_answer_cost=rng.choice((None, None, None, rng.uniform(0.1, 5.0))),
        difficulty=rng.choice((None, None, rng.random())),
    )


def told(offer: Offer, rng: random.Random, prompt_tokens: int) -> Offer:
    """The offer for another request, its difficulty moved a little, as by an answer that was told to be right."""
    fit = offer.profile.difficulty
    beta = fit.moved(rng.gauss(0.0, 0.01), rng.gauss(0.0, 0.01))
    known = replace(offer.profile, difficulty=replace(fit, beta=beta))
    return replace(offer, profile=known, prompt_tokens=prompt_tokens, room=8192 - prompt_tokens)


def measure(models: int, requests: int, most: int, seed: int = 0) -> tuple[float, float, list[float]]:
    """Milliseconds of CPU time: of the first recommendation, of `warm`, and of every further one."""
    rng = random.Random(seed)
    known = offers(models, seed)
    start = thread_time()
    recommend(known, Wanted(Caps(samples=16), most_samples=most))
    first = thread_time()
    for offer in known:
        for k in (k for k in ANSWERS if k <= most):
            list(warm(offer, most, k))
    warmed = thread_time()
    taken = []
    for _ in range(requests):
        prompt = round(10 ** rng.uniform(1.5, 3.5))
        wanted, asked = wishes(rng, most), [told(offer, rng, prompt) for offer in known]
        begun = thread_time()
        with suppress(ValueError):  # a budget too small for an answer takes its time too
            recommend(asked, wanted)
        taken.append(1e3 * (thread_time() - begun))
    return 1e3 * (first - start), 1e3 * (warmed - first), taken


def table(models: Sequence[int], requests: int, most: int) -> str:
    lines = [
        f"Python {platform.python_version()}, {requests} requests each, milliseconds of CPU time",
        "",
        "| models | median | p95 | most | goal | first | warming |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for count in models:
        first, warming, taken = measure(count, requests, most)
        p95 = quantiles(taken, n=20)[-1]
        goal = GOALS.get(count)
        lines.append(
            f"| {count} | {median(taken):.1f} | {p95:.1f} | {max(taken):.1f} | {goal or '–'} | {first:,.0f} | "
            f"{warming:,.0f} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=200, help="of each number of models, 2 or more")
    parser.add_argument("--models", type=int, nargs="+", default=[1, 6], choices=range(1, len(SHAPES) + 1))
    parser.add_argument("--most-samples", type=int, default=256, help="the operator's limit, 2 or more")
    arguments = parser.parse_args()
    if arguments.requests < 2:
        parser.error("--requests must be 2 or more")
    if arguments.most_samples < 2:
        parser.error("--most-samples must be 2 or more")
    print(table(arguments.models, arguments.requests, arguments.most_samples))
    return 0


if __name__ == "__main__":
    sys.exit(main())
