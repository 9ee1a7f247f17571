"""Intervals of predicted accuracies, from what is uncertain about the fitted numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, logit

from budgets.difficulty import Array
from budgets.fitting import Z90, DifficultyFit, VerifierFit, WrongAnswersFit
from budgets.prediction import DEFAULTS, Options, Strategy, Task, expected_accuracy
from budgets.verifier_quality import CERTAIN, Binormal, VerifierQuality

_MARGIN = 1e-6


@dataclass(frozen=True, slots=True)
class FittedTask:
    """A task's numbers as they were fitted; `verifier` None is a check that is never wrong.

    Predictions are from the verifier's binormal model where its scores look normal, else from the scores themselves.
    """

    difficulty: DifficultyFit
    wrong: WrongAnswersFit
    verifier: VerifierFit | None = None
    right_reach: float = 1.0
    wrong_reach: float = 1.0

    @property
    def task(self) -> Task:
        """The task with the best estimates."""
        quality: VerifierQuality = CERTAIN
        if self.verifier is not None:
            quality = self.verifier.binormal if self.verifier.normal else self.verifier.empirical
        return Task(self.difficulty.beta, self.wrong.wrong, quality, self.right_reach, self.wrong_reach)


@dataclass(frozen=True, slots=True)
class Accuracies:
    """Expected accuracies with their 90 % intervals, one for each number of samples: (len(samples),) each."""

    value: Array
    low: Array
    high: Array


def accuracies(
    strategy: Strategy,
    fitted: FittedTask,
    samples: Sequence[int],
    options: Options = DEFAULTS,
    problems: int | None = None,
) -> Accuracies:
    """`expected_accuracy` with 90 % intervals: of the mean over all problems, or over so many fresh `problems`.

    The delta method, on the logit of the accuracy: each fitted number is moved by one standard error to both sides (the
    difficulty's two along the Cholesky factor of their covariance), and half of the differences are added in
    squares. Where measured scores predict, the spread of what five parts of them predict takes the verifier's place.
    """

    def logits(task: Task) -> Array:
        return _logit(expected_accuracy(strategy, task, samples, options))

    value = expected_accuracy(strategy, fitted.task, samples, options)
    centre = _logit(value)
    variance = np.zeros_like(value)
    for upper, lower in _neighbours(strategy, fitted, options):
        variance += ((logits(upper) - logits(lower)) / 2) ** 2
    parts = _parts(strategy, fitted)
    if len(parts) > 1:
        variance += np.var([logits(part) for part in parts], axis=0, ddof=1) / len(parts)
    if problems is not None:
        if problems < 1:
            raise ValueError(f"problems is {problems}; choose 1 or more.")
        variance += 1 / (problems * np.clip(value * (1 - value), _MARGIN, None))
    half = Z90 * np.sqrt(variance)
    return Accuracies(value, expit(centre - half), expit(centre + half))


def _neighbours(strategy: Strategy, fitted: FittedTask, options: Options) -> Iterator[tuple[Task, Task]]:
    """The task with a fitted number one standard error above, and one below, for each that the strategy depends on."""
    task, difficulty = fitted.task, fitted.difficulty
    for column in np.linalg.cholesky(np.asarray(difficulty.covariance)).T:
        up, down = (difficulty.moved(*(sign * column)) for sign in (1, -1))
        yield replace(task, difficulty=up), replace(task, difficulty=down)
    votes = strategy in ("majority", "best_of_majority") or options.select == "weighted"
    if votes and strategy != "repeated_sampling":
        up_wrong, down_wrong = (fitted.wrong.moved(sign * fitted.wrong.log_sd) for sign in (1, -1))
        yield replace(task, wrong=up_wrong), replace(task, wrong=down_wrong)
    if fitted.verifier is not None and fitted.verifier.normal and strategy != "majority":
        for up_score, down_score in _shifted(fitted.verifier):
            yield replace(task, verifier=up_score), replace(task, verifier=down_score)


def _parts(strategy: Strategy, fitted: FittedTask) -> list[Task]:
    """The task with each part of the measured scores, where these predict."""
    if fitted.verifier is None or fitted.verifier.normal or strategy == "majority":
        return []
    return [replace(fitted.task, verifier=part) for part in fitted.verifier.parts]


def _shifted(verifier: VerifierFit) -> Iterator[tuple[Binormal, Binormal]]:
    """The binormal model one standard error off to both sides: its AUC, by the means, and each deviation."""
    model = verifier.binormal
    spread = math.hypot(model.sd_right, model.sd_wrong)
    z = (model.mean_right - model.mean_wrong) / spread
    slope = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    by = min(1.0, verifier.auc_sd / max(slope, 1e-3)) * spread / 2
    up, down = (
        replace(model, mean_right=model.mean_right + sign * by, mean_wrong=model.mean_wrong - sign * by)
        for sign in (1, -1)
    )
    yield up, down
    right, wrong = (
        1 + 1 / math.sqrt(2 * len(side)) for side in (verifier.empirical.right, verifier.empirical.wrong)
    )
    yield replace(model, sd_right=model.sd_right * right), replace(model, sd_right=model.sd_right / right)
    yield replace(model, sd_wrong=model.sd_wrong * wrong), replace(model, sd_wrong=model.sd_wrong / wrong)


def _logit(value: Array) -> Array:
    return np.asarray(logit(np.clip(value, _MARGIN, 1 - _MARGIN)))
