import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgets.budget import Budget, BudgetExhausted
from budgets.ledger import MIN_SHARE, Ledger


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _caps_hold(ledger: Ledger, open_reservations: list) -> None:
    spent, budget = ledger.spent, ledger.budget
    assert spent.samples + sum(r.samples for r in open_reservations) <= budget.samples
    if budget.tokens is not None:
        assert spent.tokens + sum(r.tokens for r in open_reservations) <= budget.tokens


def test_ten_thousand_random_histories_never_exceed_a_cap():
    """Calls overlap, fail, are cancelled, return fewer tokens, and come after the deadline."""
    rng = random.Random(20261121)
    outcomes = set()
    for _ in range(10_000):
        clock = Clock()
        seconds = rng.choice([None, rng.uniform(0.5, 5)])
        budget = Budget(rng.randint(1, 40), rng.choice([None, rng.randint(1, 3000)]), seconds)
        ledger = Ledger(budget, clock)
        open_reservations: list = []
        for _ in range(rng.randint(1, 25)):
            clock.now += rng.uniform(0, 0.5)
            if rng.random() < 0.55 or not open_reservations:
                begins = rng.random() < 0.8
                arguments = (rng.randint(1, 24), rng.choice([0, 1, 5, 100, 5000]))
                aside = rng.choice([0, 0, 15])
                possible = ledger.can_reserve(*arguments, begins=begins, aside=aside)
                if possible:
                    assert seconds is None or clock.now < seconds
                    reservation = ledger.reserve(*arguments, begins=begins, aside=aside)
                    assert reservation.sequences >= 1
                    open_reservations.append(reservation)
                else:
                    with pytest.raises(BudgetExhausted) as end:
                        ledger.reserve(*arguments, begins=begins, aside=aside)
                    outcomes.add(end.value.unit)
                    late = seconds is not None and clock.now >= seconds
                    assert (end.value.unit == "seconds") == late
            else:
                reservation = open_reservations.pop(rng.randrange(len(open_reservations)))
                ending = rng.choice(["whole", "short", "cancelled", "failed"])
                outcomes.add(ending)
                if ending == "failed":
                    ledger.release(reservation)
                else:
                    tokens = reservation.tokens if ending == "whole" else rng.randint(0, reservation.tokens)
                    ledger.settle(reservation, tokens)
            _caps_hold(ledger, open_reservations)
    assert outcomes == {"samples", "tokens", "seconds", "whole", "short", "cancelled", "failed"}


@given(
    st.integers(1, 50),
    st.one_of(st.none(), st.integers(1, 5000)),
    st.integers(1, 100),
    st.integers(1, 2000),
    st.integers(0, 20),
)
def test_a_reservation_is_as_large_as_fits(samples, tokens, sequences, each, aside):
    ledger = Ledger(Budget(samples, tokens))
    if not ledger.can_reserve(sequences, each, aside=aside):
        assert tokens is not None
        assert tokens <= aside
        return
    reservation = ledger.reserve(sequences, each, aside=aside)
    assert reservation.sequences <= min(sequences, samples)
    assert reservation.tokens_each <= each
    whole = reservation.sequences == sequences and reservation.tokens_each == each
    assert (reservation.trimmed_by is None) == whole
    if tokens is not None and reservation.tokens_each < each:
        one_token_more = reservation.sequences * (reservation.tokens_each + 1 + aside)
        assert one_token_more > tokens
        assert reservation.tokens_each >= MIN_SHARE or reservation.sequences == 1


def test_samples_share_the_tokens_left_equally():
    reservation = Ledger(Budget(16, 2048)).reserve(16, 8192)
    assert (reservation.sequences, reservation.tokens_each, reservation.trimmed_by) == (16, 128, "tokens")


def test_a_small_token_budget_gives_fewer_samples_rather_than_useless_ones():
    reservation = Ledger(Budget(16, 40)).reserve(16, 8192)
    assert (reservation.sequences, reservation.tokens_each) == (2, 20)


def test_a_budget_of_one_token_gives_one_token():
    reservation = Ledger(Budget(16, 1)).reserve(16, 8192)
    assert (reservation.sequences, reservation.tokens_each) == (1, 1)


def test_what_a_call_leaves_is_there_for_the_next():
    ledger = Ledger(Budget(4, 100))
    first = ledger.reserve(4, 25)
    assert not ledger.can_reserve(1, 1, begins=False)
    ledger.settle(first, 30, prompt_tokens=7, cached_tokens=3)
    assert ledger.tokens_left == 70
    assert ledger.samples_left == 0
    assert (ledger.spent.prompt_tokens, ledger.spent.cached_tokens) == (7, 3)
    with pytest.raises(BudgetExhausted, match="samples"):
        ledger.reserve(1, 1)
    assert ledger.reserve(1, 500, begins=False).tokens_each == 70


def test_tokens_set_aside_for_verdicts_are_not_given_to_samples():
    ledger = Ledger(Budget(4, 100))
    assert ledger.reserve(4, 100, aside=5).tokens_each == 20
    other = Ledger(Budget(4, 100))
    other.aside = 60
    assert other.reserve(1, 100).tokens_each == 40


def test_a_settlement_above_its_reservation_is_refused_and_charges_nothing():
    ledger = Ledger(Budget(2, 20))
    reservation = ledger.reserve(2, 10)
    with pytest.raises(ValueError, match="cannot settle 21"):
        ledger.settle(reservation, 21)
    assert ledger.spent.tokens == 0
    ledger.settle(reservation, 20)
    assert ledger.tokens_left == 0


def test_a_reservation_is_settled_or_released_once():
    ledger = Ledger(Budget(2, 20))
    reservation = ledger.reserve(1, 5)
    ledger.settle(reservation, 5)
    for again in (lambda: ledger.settle(reservation, 5), lambda: ledger.release(reservation)):
        with pytest.raises(ValueError, match="already"):
            again()
    assert ledger.spent.tokens == 5


def test_nothing_is_reserved_after_the_deadline():
    clock = Clock()
    ledger = Ledger(Budget(2, None, 1.5), clock)
    clock.now = 1.0
    assert ledger.seconds_left == 0.5
    clock.now = 1.5
    with pytest.raises(BudgetExhausted, match="seconds"):
        ledger.reserve(1, 1)


@pytest.mark.parametrize(
    "caps", [(0,), (-1,), (1, 0), (1, 5, 0.0), (1, 5, float("nan")), (1, 5, float("inf"))]
)
def test_a_cap_that_is_no_finite_positive_number_is_refused(caps):
    with pytest.raises(ValueError, match="finite number above 0"):
        Budget(*caps)


def test_whole_sequences_get_all_their_tokens_or_are_left_out():
    for left, fit in ((63, 3), (62, 2), (50, 2), (45, 2), (41, 1), (21, 1)):
        assert Ledger(Budget(1, left)).reserve(3, 21, begins=False, whole=True).sequences == fit
    with pytest.raises(BudgetExhausted, match="tokens"):
        Ledger(Budget(1, 20)).reserve(3, 21, begins=False, whole=True)
