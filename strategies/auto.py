"""Auto: samples while they are expected to pay, then the answer that is most likely right."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, ClassVar

from pydantic import Field

from strategies.advice import Advice
from strategies.base import Candidate, Outcome, VerifierNeed
from strategies.ranking import ballot, by_answer, with_votes
from strategies.responding import respond
from strategies.search import Search


@dataclass(frozen=True, slots=True)
class Auto:
    """The recommended plan of the request's budget, adapted to the prompt: a few samples show how hard it is.

    Where the task's problems differ, a probe of a few samples comes first. From their answers and scores and the
    task's profile follow the posterior of this prompt's difficulty and the probability that each answer is right.
    Further samples are drawn, in waves, while each is expected to raise the probability of a right answer by
    `least_gain`; then answers are ranked by theirs. Where the recommended plan is repeated sampling, that runs instead.
    Without a calibrated profile of the model on the task it knows little, and says so.

    Cost: as many samples as pay, within the budget, and their scores. Source: compute-optimal scaling, Snell et al.
    2408.03314; saturation, TTSPM 2505.20522; Kinetics, 2506.05333.
    """

    least_gain: Annotated[
        float,
        Field(
            ge=1e-4,
            le=1,
            allow_inf_nan=False,
            description="Least that a further sample must add.",
        ),
    ] = 0.016

    name: ClassVar[str] = "auto"
    verifier: ClassVar[VerifierNeed] = "none"

    async def run(self, search: Search) -> Outcome:
        drawn: list[Candidate] = []
        reasons: list[str] = []
        while True:
            seen = [(candidate.answer, candidate.score) for candidate in drawn]
            advise = partial(search.advisor.advise, seen, search.samples_left)
            advice = await search.settled(advise, Advice)
            reasons += [advice.reason] if advice.reason else []
            search.report("advice", more=advice.more, right=advice.right, ranked=advice.ranked)
            new: list[Candidate] = []
            if advice.more:
                with search.spending():
                    new = await respond(search, advice.more)
            if not new:
                break
            drawn = await search.score([*drawn, *new])
        ranked = by_answer(with_votes(drawn, ballot(drawn)), advice.ranked)
        estimates = {} if advice.right is None else {"right": advice.right}
        return replace(search.outcome(ranked, estimates=estimates), reasons=tuple(reasons))
