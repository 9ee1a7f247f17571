"""Particle filtering: a population of partial responses that lives and dies by the process reward."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from strategies.base import Candidate, Outcome, VerifierNeed
from strategies.ranking import answers_by_weight, ballot, by_answer, by_score, finished_first, with_votes
from strategies.resampling import RESAMPLERS, effective_sample_size
from strategies.scores import logits, softmax
from strategies.search import Search
from strategies.stepping import Stepwise, Walk
from strategies.tree import ROOT


@dataclass(frozen=True, slots=True)
class ParticleFiltering(Stepwise):
    """N particles take a step each; then they are resampled with weights softmax(logit(score)/T), and so on.

    Finished particles stay in the population and can be resampled. A resampling is left out where the effective sample
    size (ESS) reaches `ess_threshold` times N. `anneal: entropic` flattens the weights while they are
    concentrated and the search is young: T grows by max(1, N/ESS·(1 − t/`horizon`)) at step t.

    `iterations` > 1 is particle Gibbs: each further filter is conditioned on a particle drawn from the one before,
    which takes its known steps again and cannot die; the samples are shared equally among the filters. (Only
    `multinomial` resampling then leaves the target distribution exactly as it is.)

    The answer is the particle with the highest score (`select: argmax`), one drawn by weight (`sample`), or the one
    whose answer has the most weight (`weighted`). Finished responses that died come after the survivors.

    Cost: N samples; one engine call and one verifier call a step. Source: particle filtering and particle Gibbs,
    Puri et al. 2502.01618; entropic annealing, 2510.05825.
    """

    temperature: Annotated[float, Field(gt=0, le=1e6, description="T of the weights.")] = 1.0
    resample: Annotated[
        Literal["multinomial", "systematic", "stratified", "residual"],
        Field(description="How survivors are drawn."),
    ] = "multinomial"
    ess_threshold: Annotated[
        float, Field(ge=0, le=1, description="Share of N below which the ESS leads to resampling.")
    ] = 1.0
    anneal: Annotated[
        Literal["none", "entropic"], Field(description="Whether weights are flattened early on.")
    ] = "none"
    horizon: Annotated[
        int, Field(ge=1, le=10_000, description="Steps over which `anneal: entropic` fades out.")
    ] = 16
    iterations: Annotated[int, Field(ge=1, le=100, description="Filters; above 1, particle Gibbs.")] = 1
    select: Annotated[
        Literal["argmax", "sample", "weighted"], Field(description="Which particle answers.")
    ] = "argmax"

    name: ClassVar[str] = "particle_filtering"
    verifier: ClassVar[VerifierNeed] = "default"

    async def run(self, search: Search) -> Outcome:
        walk = Walk(search, self)
        filters: list[_Filter] = []
        with search.spending():
            for size in _shares(search.samples_left, self.iterations):
                kept = self._draw_one(walk, filters[-1], search.rng) if filters else []
                filters.append(_Filter(size, [ROOT] * size, kept))
                walk.facts = {"iteration": len(filters)} if self.iterations > 1 else {}
                await self._filter(walk, filters[-1], search.rng)
        particles = [particle for one in filters for particle in one.population if particle != ROOT]
        ranked = await self._ranked(walk, particles, search.rng)
        return search.outcome(ranked, estimates=walk.chosen(ranked))

    async def _filter(self, walk: Walk, particles: _Filter, rng: Random) -> None:
        try:
            await self._step_by_step(walk, particles, rng)
        finally:
            particles.steps = max(
                particles.steps, len(particles.kept)
            )  # the kept one goes its known way to its end

    async def _step_by_step(self, walk: Walk, particles: _Filter, rng: Random) -> None:
        while live := walk.live(particles.free):
            particles.take(await walk.grow(Counter(live)), walk)
            population = particles.population
            if not walk.live(population):
                break
            weights, facts = self._weights(walk, population, 1 - particles.steps / self.horizon)
            if facts["ess"] < self.ess_threshold * len(population) or len(particles.free) < particles.size:
                survivors = RESAMPLERS[self.resample](weights, particles.size, rng)
                particles.free = [population[i] for i in survivors]
            walk.selected(Counter(particles.population), **facts)

    def _weights(
        self, walk: Walk, population: Sequence[int], youth: float = 0.0
    ) -> tuple[list[float], dict[str, float]]:
        """The population's weights, and the ESS and temperature; `youth` falls from 1 to 0 as annealing fades out."""
        values = logits([walk.tree[particle].score for particle in population], walk.bounded)
        weights = softmax(values, self.temperature)
        ess = effective_sample_size(weights)
        temperature = self.temperature
        if self.anneal == "entropic":
            temperature *= max(1.0, len(population) / ess * youth)
            weights = softmax(values, temperature)
        return weights, {"ess": round(ess, 4), "temperature": round(temperature, 4)}

    def _draw_one(self, walk: Walk, particles: _Filter, rng: Random) -> list[int]:
        """The path of one particle of a filter that has ended, drawn by its weight."""
        weights, _ = self._weights(walk, particles.population)
        return walk.tree.path(rng.choices(particles.population, weights)[0])

    async def _ranked(self, walk: Walk, particles: Sequence[int], rng: Random) -> list[Candidate]:
        """Survivors by `select`, each once, then those that finished and died; what was cut comes last, by score."""
        held = set(particles)
        survivors = sorted(held)
        died = [node for node in (*walk.finished, *walk.stranded) if node not in held]
        candidates = await walk.candidates(survivors + died)
        candidates = with_votes(candidates, ballot(candidates))
        alive, dead = candidates[: len(survivors)], by_score(candidates[len(survivors) :])
        return finished_first(self._selected(walk, alive, particles, rng) + dead)

    def _selected(
        self, walk: Walk, alive: Sequence[Candidate], particles: Sequence[int], rng: Random
    ) -> list[Candidate]:
        ranked = by_score(alive)
        if self.select == "argmax" or not alive:
            return ranked
        weights, _ = self._weights(walk, particles)
        sums = dict.fromkeys(particles, 0.0)
        for particle, weight in zip(particles, weights, strict=True):
            sums[particle] += weight if walk.tree[particle].finished == "stop" else 0.0
        if self.select == "weighted":
            return by_answer(ranked, answers_by_weight(alive, [sums[c.index] for c in alive]))
        if not any(sums.values()) or all(c.score is None for c in alive):
            return ranked
        (drawn,) = rng.choices(alive, [sums[c.index] for c in alive])
        return [drawn] + [c for c in ranked if c.index != drawn.index]


@dataclass(slots=True)
class _Filter:
    """A population: `size` free particles, and with particle Gibbs one that follows the path `kept`."""

    size: int
    free: list[int]
    kept: list[int] = field(default_factory=list)
    steps: int = 0

    @property
    def population(self) -> list[int]:
        """The particles' nodes; the kept one, at the step that the others have reached, last."""
        return self.free + self.kept[: self.steps][-1:]

    def take(self, new: Sequence[int], walk: Walk) -> None:
        """Move each live particle to a child of its own; one that got none is lost."""
        children: dict[int, deque[int]] = {}
        for node in new:
            children.setdefault(walk.tree[node].parent, deque()).append(node)
        moved: list[int] = []
        for particle in self.free:
            if walk.tree[particle].finished:
                moved.append(particle)
            elif children.get(particle):
                moved.append(children[particle].popleft())
        self.free = moved
        self.steps += 1


def _shares(samples: int, filters: int) -> list[int]:
    """`samples` shared among at most `filters` filters as equally as can be, the first ones getting more."""
    filters = min(samples, filters)
    return [samples // filters + (i < samples % filters) for i in range(filters)]
