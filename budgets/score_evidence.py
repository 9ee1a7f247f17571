"""What a verifier's score says of a response: how much likelier it is of a right one; and scores of either kind."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtri

from budgets.difficulty import Array
from budgets.fitting import VerifierFit
from budgets.verifier_quality import Binormal, Empirical

_QUANTILES = 512
_BINS = 24
_CERTAIN = 20.0
_STRONGEST = 7.0


@dataclass(frozen=True, slots=True, eq=False)
class ScoreEvidence:
    """A verifier as evidence.

    `score` rises and `log_ratio` is the logarithm of right over wrong densities there. `right` and `wrong` are scores
    that a right and a wrong response have with equal chances each. `logits`: whether scores are those, not in [0, 1].
    """

    score: Array
    log_ratio: Array
    right: Array
    wrong: Array
    logits: bool = False

    def of(self, scores: Array) -> Array:
        """The log-likelihood ratio of each score, between the points by straight lines; 0 for NaN, no score."""
        found = np.interp(scores, self.score, self.log_ratio)
        return np.asarray(np.where(np.isnan(scores), 0.0, found))

    def drawn(self, right: NDArray[np.bool_], chance: Array) -> Array:
        """A score for each response, by a number from 0 to below 1."""
        drawn = [side[(chance * len(side)).astype(int)] for side in (self.right, self.wrong)]
        return np.asarray(np.where(right, *drawn))


@lru_cache(64)
def score_evidence(fit: VerifierFit | None) -> ScoreEvidence:
    """Of a fitted verifier, or, for None, of a check that is never wrong: score 1 if right, else 0.

    From the binormal model where the logits look normal, else from the measured scores in up to 24 bins with one more
    of each kind in every bin. No score counts for more than e^7, as no fit knows its tails.
    """
    if fit is None:
        at = np.array([0.0, 0.5 - 1e-9, 0.5, 1.0])
        sign = np.array([-1.0, -1.0, 1.0, 1.0])
        return ScoreEvidence(at, sign * _CERTAIN, np.ones(1), np.zeros(1))
    if fit.normal:
        return _of_normal(fit.binormal, fit.empirical)
    return _of_measured(fit.empirical)


def _of_normal(model: Binormal, measured: Empirical) -> ScoreEvidence:
    level = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    right = model.mean_right + model.sd_right * ndtri(level)
    wrong = model.mean_wrong + model.sd_wrong * ndtri(level)
    at = np.unique(np.concatenate([right, wrong]))
    z_right, z_wrong = (at - model.mean_right) / model.sd_right, (at - model.mean_wrong) / model.sd_wrong
    ratio = (z_wrong**2 - z_right**2) / 2 + np.log(model.sd_wrong / model.sd_right)
    ratio = np.clip(ratio, -_STRONGEST, _STRONGEST)
    if _logits(measured):
        return ScoreEvidence(at, ratio, right, wrong, logits=True)
    return ScoreEvidence(expit(at), ratio, expit(right), expit(wrong))


def _of_measured(measured: Empirical) -> ScoreEvidence:
    right, wrong = np.sort(measured.right), np.sort(measured.wrong)
    levels = np.unique(np.concatenate([right, wrong]))
    if len(levels) > _BINS:
        ranks = np.linspace(0, len(levels), _BINS + 1).round().astype(int)
        at = levels[(ranks[:-1] + ranks[1:] - 1) // 2]
        upper = levels[ranks[1:] - 1]
    else:
        at = upper = levels
    counts = [np.diff(np.searchsorted(side, upper, "right"), prepend=0) + 1.0 for side in (right, wrong)]
    ratio = np.log(counts[0] / counts[0].sum()) - np.log(counts[1] / counts[1].sum())
    return ScoreEvidence(at, np.clip(ratio, -_STRONGEST, _STRONGEST), right, wrong, _logits(measured))


def _logits(measured: Empirical) -> bool:
    return min(*measured.right, *measured.wrong) < 0 or max(*measured.right, *measured.wrong) > 1
