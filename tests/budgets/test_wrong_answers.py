from itertools import product
from math import prod

import numpy as np
import pytest

from budgets.wrong_answers import Partitions, WrongAnswers

FAMILIES = [
    WrongAnswers(2.5),
    WrongAnswers(1.2, 0.4),
    WrongAnswers.even(3, 0.7),
    WrongAnswers.even(1, 2.0),
    WrongAnswers.even(5, 4.0),
]


def partitions(wrong, samples):
    """Each set partition of so many samples, by its counts, with its probability by the sequential rule alone."""
    found = [((), 1.0)]
    for seen in range(samples):
        grown = []
        for counts, chance in found:
            total = seen + wrong.concentration
            for i, count in enumerate(counts):
                grown.append(
                    ((*counts[:i], count + 1, *counts[i + 1 :]), chance * (count - wrong.discount) / total)
                )
            new = wrong.concentration + wrong.discount * len(counts)
            grown.append(((*counts, 1), chance * max(0.0, new) / total))
        found = grown
    return found


@pytest.mark.parametrize("wrong", FAMILIES, ids=str)
def test_beaten_agrees_with_all_partitions(wrong):
    below = np.random.default_rng(1).random((3, 5))
    found = wrong.beaten(below, most=2)
    for samples, row in product(range(6), range(3)):
        expected = np.zeros(3)
        for counts, chance in partitions(wrong, samples):
            marks = [below[row, count - 1] for count in counts]
            for ahead in product((False, True), repeat=len(marks)):
                if sum(ahead) <= 2:
                    split = prod(1 - m if up else m for m, up in zip(marks, ahead, strict=True))
                    expected[sum(ahead)] += chance * split
        assert found[samples, :, row] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("wrong", FAMILIES, ids=str)
def test_two_samples_agree_as_often_as_it_says(wrong):
    chances = dict(partitions(wrong, 2))
    assert chances[(2,)] == pytest.approx(wrong.agreement)


@pytest.mark.parametrize("wrong", [*FAMILIES, WrongAnswers(500.0), WrongAnswers.even(96, 10.0)], ids=str)
def test_probabilities_stay_such_for_many_samples(wrong):
    marks = np.array([1, 20, 100])[:, None]
    found = wrong.beaten((np.arange(1, 257) < marks).astype(float))[:, 0]
    assert found.min() > -1e-9
    assert found.max() < 1 + 1e-9


@pytest.mark.parametrize("wrong", FAMILIES[:3], ids=str)
def test_likelihoods_are_the_sequential_rule_s(wrong):
    for counts, chance in partitions(wrong, 4):
        seen = Partitions.of([counts])
        if chance > 0:
            found = seen.log_likelihood(wrong.concentration, wrong.discount)
            assert found == pytest.approx(np.log(chance), abs=1e-9)


def test_what_is_no_distribution_is_refused():
    for bad in ((0.0, 0.0), (1.0, 1.0), (1.0, -0.3), (float("nan"), 0.0)):
        with pytest.raises(ValueError, match=r"concentration|discount"):
            WrongAnswers(*bad)
    with pytest.raises(ValueError, match="agreement is 0"):
        WrongAnswers.of_agreement(0)
    with pytest.raises(ValueError, match="answers is 0"):
        WrongAnswers.even(0, 1.0)
    with pytest.raises(ValueError, match="below 1"):
        Partitions.of([[2, 0]])
