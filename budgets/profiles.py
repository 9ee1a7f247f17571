"""A model's numbers on a task: how hard its problems are, how wrong answers agree, how long responses get, and how well
each verifier judges. Measured by a calibration, else an honest, wide prior; feedback moves either."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import msgspec
import numpy as np

from budgets.checks import check_number
from budgets.cutting import alikeness, cut
from budgets.difficulty import Beta
from budgets.fitting import (
    DifficultyFit,
    VerifierFit,
    WrongAnswersFit,
    fit_difficulty,
    fit_verifier,
    fit_wrong_answers,
)
from budgets.length_fitting import LengthFit, PowerLaw, fit_lengths, fit_power_law
from budgets.lengths import LogNormal
from budgets.prediction import DEFAULTS, Options, Strategy
from budgets.uncertainty import FittedTask
from budgets.updating import told
from budgets.verifier_quality import Binormal, Empirical
from budgets.wrong_answers import WrongAnswers

CERTAIN_VERIFIERS: Final = frozenset({"exact", "unit_tests"})
"""Verifiers that are never wrong: they compare with a reference, or run tests."""

_PRIOR_AUC: Final[Mapping[str, tuple[float, float]]] = {"self_certainty": (0.60, 0.08), "judge": (0.65, 0.10)}
_PRIOR_REWARD: Final = (0.70, 0.10)
_MOST_SCORES: Final = 4096


@dataclass(frozen=True, slots=True)
class Measurement:
    """One sample of a problem, graded. `finished` is False where it was cut at the cap.

    `answer`: equal texts are equal answers; None where it has none. `score`: the verifier's, None where it gave none.
    """

    right: bool
    tokens: int
    finished: bool
    answer: str | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """A model's numbers on a task, and those of each verifier measured, by its name.

    `cap`: the tokens that a sample could have when measured; None where none was cut. A response counts as right in the
    difficulty where it was right within the cap. `answered`: the share of the other responses that had an answer
    within it. `alike`: the share of the variance of log lengths that lies between problems. `problems`, `samples`: how
    many were measured; `feedback`: how many answers were told right or wrong.
    """

    difficulty: DifficultyFit
    wrong: WrongAnswersFit
    lengths: LengthFit
    verifiers: Mapping[str, VerifierFit] = field(default_factory=dict, hash=False)
    cap: int | None = None
    source: Literal["prior", "calibrated"] = "prior"
    problems: int = 0
    samples: int = 0
    feedback: int = 0
    coverage: PowerLaw | None = None
    answered: float = 1.0
    alike: float = 0.5

    def __post_init__(self) -> None:
        numbers = [x for row in self.difficulty.covariance for x in row]
        if not all(map(math.isfinite, numbers)) or np.linalg.eigvalsh(self.difficulty.covariance)[0] <= 0:
            raise ValueError("difficulty.covariance must be finite and positive definite.")
        check_number("wrong.log_sd", self.wrong.log_sd, most=100)
        check_number("lengths.right_share", self.lengths.right_share, most=1)
        for name in ("right_mean_sd", "wrong_mean_sd"):
            check_number(f"lengths.{name}", getattr(self.lengths, name), most=100)
        for name, fit in self.verifiers.items():
            check_number(f"verifiers.{name}.auc", fit.auc, most=1)
            check_number(f"verifiers.{name}.auc_sd", fit.auc_sd, most=1)
        if self.cap is not None:
            check_number("cap", self.cap, least=1, whole=True)
        for name in ("problems", "samples", "feedback"):
            check_number(name, getattr(self, name), whole=True)
        check_number("answered", self.answered, most=1)
        check_number("alike", self.alike, most=1)

    @classmethod
    def prior(cls) -> Profile:
        """What is known of any task before anything is measured: very little, and its intervals say so.

        90 % intervals: accuracy of a sample 8 to 92 %, a + b of its Beta 0.4 to 5.6, two wrong samples agree in 3 to
        64 %, a median response has 100 to 2,600 tokens.
        """
        lengths = LogNormal(math.log(500), 1.0)
        return cls(
            DifficultyFit(Beta(0.75, 0.75), ((1.5**2, 0.0), (0.0, 0.8**2))),
            WrongAnswersFit(WrongAnswers.of_agreement(0.2), 1.2),
            LengthFit(lengths, lengths, 0.5, 1.0, 1.0),
        )

    @classmethod
    def measured(
        cls,
        problems: Sequence[Sequence[Measurement]],
        *,
        verifier: str | None = None,
        cap: int | None = None,
        before: Profile | None = None,
    ) -> Profile:
        """The profile that the graded samples of each problem give; `verifier` is the name of who scored them.

        `cap` is taken for the longest that was cut where it is not given. Verifiers of `before` are kept. ValueError,
        with the mend, where too little is given: two samples that finished are needed and, with a verifier, one right
        and one wrong sample that it scored.
        """
        every = [one for samples in problems for one in samples]
        if not all(problems) or not every:
            raise ValueError(
                "Each problem needs one sample at least: leave out those without, or sample them."
            )
        stopped = [one.tokens for one in every if not one.finished]
        cap = cap if cap is not None or not stopped else max(1, *stopped)
        right = [sum(one.right for one in samples) for samples in problems]
        counts = [len(samples) for samples in problems]
        verifiers = dict(before.verifiers) if before else {}
        if verifier is not None and verifier not in CERTAIN_VERIFIERS:
            verifiers[verifier] = _verifier(problems, verifier)
        return cls(
            fit_difficulty(right, counts),
            fit_wrong_answers([_wrong_counts(samples) for samples in problems]),
            _lengths(every),
            verifiers,
            cap,
            "calibrated",
            len(problems),
            len(every),
            0,
            _coverage(right, counts),
            _answered(every),
            alikeness([_ended(samples) for samples in problems]),
        )

    def knows(self, verifier: str) -> bool:
        """Whether the verifier was measured on this task, or is never wrong."""
        return verifier in self.verifiers or verifier in CERTAIN_VERIFIERS

    def fitted(self, verifier: str | None, max_tokens: float | None = None) -> FittedTask:
        """The task as fitted, for samples of up to `max_tokens` (None: as measured), judged by `verifier`.

        Beyond the measured cap no more is promised than at it; below it a share of the problems is lost, those that
        take longer: p is 0 for them (`budgets.cutting`). A verifier that was not measured has a wide prior; None stands
        for a check that is never wrong, as do `exact` and `unit_tests`.
        """
        fit = None
        if verifier is not None and verifier not in CERTAIN_VERIFIERS:
            fit = self.verifiers.get(verifier) or prior_verifier(verifier)
        if max_tokens is None:
            return FittedTask(self.difficulty, self.wrong, fit, 1.0, self.answered)
        left = cut(self.lengths.right, self.lengths.wrong, self.alike, max_tokens, self.cap or math.inf)
        difficulty = left.difficulty(self.difficulty)
        return FittedTask(difficulty, self.wrong, fit, left.right, self.answered * left.wrong)

    def told(
        self,
        strategy: Strategy,
        samples: int,
        correct: bool,
        *,
        options: Options = DEFAULTS,
        verifier: str | None = None,
    ) -> Profile:
        """The profile once the answer that `strategy` gave to one prompt with so many samples is known to be right,
        or wrong: the difficulty moves, everything else stays. See `budgets.updating.told`."""
        moved = told(self.fitted(verifier), strategy, samples, correct, options)
        return replace(self, difficulty=moved, feedback=self.feedback + 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, which `from_dict` reads."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    @classmethod
    def from_dict(cls, kept: object) -> Profile:
        """The profile that `to_dict` gave. ValueError where `kept` is nothing such, naming the field."""
        return msgspec.convert(kept, cls)


def prior_verifier(name: str) -> VerifierFit:
    """What is supposed of a verifier that nobody measured: an AUC of 0.7 ± 0.1 (0.65 for `judge`, 0.60 ± 0.08 for
    `self_certainty`), with calibrated scores."""
    auc, sd = _PRIOR_AUC.get(name, _PRIOR_REWARD)
    model = Binormal.of_auc(auc)
    scores = (-1.0, 0.0, 1.0)
    right, wrong = (
        tuple(1 / (1 + math.exp(-(mean + spread * at))) for at in scores)
        for mean, spread in ((model.mean_right, model.sd_right), (model.mean_wrong, model.sd_wrong))
    )
    return VerifierFit(Empirical(right, wrong), model, auc, sd, normal=True)


def _wrong_counts(samples: Sequence[Measurement]) -> list[int]:
    counts: dict[str, int] = {}
    for one in samples:
        if not one.right and one.answer is not None:
            counts[one.answer] = counts.get(one.answer, 0) + 1
    return list(counts.values())


def _ended(samples: Sequence[Measurement]) -> tuple[list[float], list[float]]:
    """Lengths of the right and of the wrong ones that finished."""
    right, wrong = (
        [max(1.0, float(one.tokens)) for one in samples if one.finished and one.right == side]
        for side in (True, False)
    )
    return right, wrong


def _lengths(every: Sequence[Measurement]) -> LengthFit:
    return fit_lengths(*_ended(every), [max(1, one.tokens) for one in every if not one.finished])


def _answered(every: Sequence[Measurement]) -> float:
    """The share of those not right that finished, with an answer where answers are told apart at all."""
    wrong = [one for one in every if not one.right]
    told_apart = any(one.answer is not None for one in every)
    answered = sum(one.answer is not None if told_apart else one.finished for one in wrong)
    return answered / len(wrong) if wrong else 1.0


def _coverage(right: Sequence[int], counts: Sequence[int]) -> PowerLaw | None:
    try:
        return fit_power_law(right, counts)
    except (ValueError, RuntimeError):  # all solved, none, or a curve that no power law follows
        return None


def _verifier(problems: Sequence[Sequence[Measurement]], name: str) -> VerifierFit:
    sides = [
        [
            [one.score for one in samples if one.right == side and one.score is not None]
            for samples in problems
        ]
        for side in (True, False)
    ]
    for side, scores in zip(("right", "wrong"), sides, strict=True):
        if not any(scores):
            raise ValueError(
                f"{name} scored no {side} sample, so that nothing is known of it: measure more problems, or leave the "
                "verifier out."
            )
    fit = fit_verifier(*sides)
    return replace(fit, empirical=Empirical(*map(_thinned, (fit.empirical.right, fit.empirical.wrong))))


def _thinned(scores: tuple[float, ...]) -> tuple[float, ...]:
    """Every so many of them: enough to predict from, and to keep."""
    return scores[:: math.ceil(len(scores) / _MOST_SCORES)]
