"""What the graded samples say of the model: its profile, and what that predicts against what was observed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from budgets.prediction import Strategy
from budgets.profiles import Measurement, Profile
from budgets.uncertainty import accuracies
from service.calibration.grading import Graded
from service.calibration.observed import counts, observed
from service.drawing.calibration import Curve

NAMES: Final[Mapping[Strategy, str]] = {
    "repeated_sampling": "coverage",
    "majority": "majority",
    "best_of_n": "best_of_n with {}",
}


def fit(problems: Sequence[Sequence[Mapping[str, Any]]], verifier: str | None, cap: int | None) -> Profile:
    """The profile of problems as `Graded.measurements` gives them. Raises ValueError where they are too few."""
    measured = [[Measurement(**sample) for sample in problem] for problem in problems]
    return Profile.measured(measured, verifier=verifier, cap=cap)


def curves(
    profile: Profile, problems: Sequence[Graded], verifier: str | None, cap: int | None, most: int
) -> list[Curve]:
    """Coverage, the vote, and best_of_n where there is a verifier, at 1 to `most` samples."""
    samples = counts(problems, most)
    seen = observed(problems, samples, scored=verifier is not None)
    found = []
    for strategy, name in NAMES.items():
        if strategy in seen:
            fitted = profile.fitted(verifier if strategy == "best_of_n" else None, cap)
            expected = accuracies(strategy, fitted, samples)
            predicted = zip(
                samples, expected.value.tolist(), expected.low.tolist(), expected.high.tolist(), strict=True
            )
            found.append(Curve(name.format(verifier), list(seen[strategy].items()), list(predicted)))
    return found
