import random
from collections.abc import Callable
from functools import cache
from math import fsum
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgets.budget import Budget, BudgetExhausted, Unit
from budgets.hardware import Hardware
from budgets.ledger import MIN_SHARE, Ledger, Price, Reservation, unpriced
from budgets.models import ModelShape
from budgets.tariff import Charge, Tariff


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


PRICED = Tariff(
    ModelShape(1e9, 1e9, num_layers=16, num_attention_heads=16, num_kv_heads=4, head_dim=64),
    Hardware("small", 1e14, 1e12, 1e11),
    usd_per_hour=3.6,
)


Spends = Callable[[list[int]], Charge]


def _by_the_law(prompt: int, past: int) -> tuple[Price, Spends]:
    """A call's price, and what it costs by the lengths that its sequences came to."""
    return (
        cache(lambda n, t: PRICED.charge(prompt, [(n, t)], past=past)),
        lambda lengths: PRICED.charge(prompt, [(1, length) for length in lengths], past=past),
    )


PRICES: list[tuple[Price, Spends]] = [
    (unpriced, lambda _: Charge()),
    (
        lambda n, t: Charge(1e9 * n * t, 0.0, 1e-6 * n * (t + 1)),
        lambda lengths: Charge(1e9 * sum(lengths), 0.0, 1e-6 * sum(length + 1 for length in lengths)),
    ),
    _by_the_law(300, 0),
    _by_the_law(20, 500),
]


def can_reserve(ledger: Ledger, *size: int, **asked: object) -> bool:
    """Whether the ledger would grant that."""
    try:
        ledger.release(ledger.reserve(*size, **asked))
    except BudgetExhausted:
        return False
    return True


def _caps_hold(ledger: Ledger, open_reservations: list) -> None:
    spent, budget = ledger.spent, ledger.budget
    assert spent.samples + sum(r.samples for r in open_reservations) <= budget.samples
    if budget.tokens is not None:
        assert spent.tokens + sum(r.tokens for r in open_reservations) <= budget.tokens
    for unit in ("eflops", "usd"):
        cap = getattr(budget, unit)
        if cap is not None:
            reserved = fsum(getattr(r.charge, unit) for r in open_reservations)
            assert getattr(spent.charge, unit) <= cap
            assert getattr(spent.charge, unit) + reserved <= cap * (1 + 1e-12)


def test_ten_thousand_random_histories_never_exceed_a_cap():
    """Calls overlap, fail, are cancelled, return fewer tokens, cost what they do, and come after the deadline."""
    rng = random.Random(20261121)
    outcomes = set()
    for _ in range(10_000):
        clock = Clock()
        seconds = rng.choice([None, rng.uniform(0.5, 5)])
        eflops, usd = (
            rng.choice([None, 10 ** rng.uniform(10, 15)]),
            rng.choice([None, 10 ** rng.uniform(-6, -2)]),
        )
        tokens = rng.choice([None, rng.randint(1, 3000)])
        ledger = Ledger(Budget(rng.randint(1, 40), tokens, seconds, eflops, usd), clock)
        open_reservations: list = []
        costs: dict[Reservation, Spends] = {}
        for _ in range(rng.randint(1, 25)):
            clock.now += rng.uniform(0, 0.5)
            if rng.random() < 0.55 or not open_reservations:
                price, spends = rng.choice(PRICES)
                ledger.aside_charge = rng.choice([Charge(), Charge(1e10, 0.0, 1e-5)])
                asked = {
                    "begins": rng.random() < 0.8,
                    "aside": rng.choice([0, 0, 15]),
                    "whole": rng.random() < 0.2,
                    "price": price,
                    "beside": rng.choice([unpriced, price]),
                }
                size = (rng.randint(1, 24), rng.choice([0, 1, 5, 100, 5000]))
                if can_reserve(ledger, *size, **asked):
                    assert seconds is None or clock.now < seconds
                    reservation = ledger.reserve(*size, **asked)
                    assert reservation.sequences >= 1
                    open_reservations.append(reservation)
                    costs[reservation] = spends
                else:
                    with pytest.raises(BudgetExhausted) as end:
                        ledger.reserve(*size, **asked)
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
                    share = 1.0 if ending == "whole" else rng.random()
                    each, sequences = reservation.tokens_each, reservation.sequences
                    lengths = [int(each * share)] * sequences
                    if ending == "cancelled":  # some had ended, the others were on their way
                        lengths = [rng.randint(0, each) for _ in range(min(sequences, 6))]
                    ledger.settle(reservation, sum(lengths), charge=costs[reservation](lengths))
            _caps_hold(ledger, open_reservations)
    assert outcomes == {*get_args(Unit), "whole", "short", "cancelled", "failed"}


@given(
    st.integers(1, 24),
    st.integers(1, 5000),
    st.floats(0, 2000),
    st.floats(-6, -1),
    st.booleans(),
    st.sampled_from(["eflops", "usd"]),
)
def test_a_reservation_is_as_large_as_its_price_allows(sequences, each, past, scale, whole, unit):
    cap = 10**scale * (1 if unit == "usd" else 1e18)
    ledger = Ledger(Budget(50, **{unit: cap}))

    def price(n, t):
        return PRICED.charge(300, [(n, t)], past=past)

    def fits(n, t):
        return getattr(price(n, t), unit) <= cap

    if not can_reserve(ledger, sequences, each, whole=whole, price=price):
        assert not fits(1, each if whole else 1)
        return
    granted = ledger.reserve(sequences, each, whole=whole, price=price)
    assert fits(granted.sequences, granted.tokens_each)
    assert granted.charge == price(granted.sequences, granted.tokens_each)
    assert granted.trimmed_by == (None if fits(sequences, each) else unit)
    if granted.tokens_each < each:
        assert not whole
        assert not fits(granted.sequences, granted.tokens_each + 1) or granted.tokens_each == MIN_SHARE
    if granted.sequences < sequences:
        assert not fits(granted.sequences + 1, each if whole else min(each, MIN_SHARE))
        assert whole or granted.tokens_each <= MIN_SHARE


def test_a_charge_kept_aside_is_not_given_to_calls():
    ledger = Ledger(Budget(4, usd=1.0))
    ledger.aside_charge = Charge(usd=0.75)
    reservation = ledger.reserve(4, 100, price=lambda n, t: Charge(usd=0.001 * n * t))
    assert reservation.charge.usd == pytest.approx(0.248)
    assert (reservation.sequences, reservation.tokens_each, reservation.trimmed_by) == (4, 62, "usd")


def test_a_charge_above_its_reservation_is_refused_and_rounding_is_not():
    ledger = Ledger(Budget(4, eflops=1e12))
    reservation = ledger.reserve(1, 100, price=lambda n, t: Charge(eflops=1e10 * n * t))
    with pytest.raises(ValueError, match="cannot settle"):
        ledger.settle(reservation, 100, charge=Charge(eflops=1.001e12))
    assert ledger.spent.charge == Charge()
    ledger.settle(reservation, 100, charge=Charge(eflops=1e12 * (1 + 1e-13)))
    assert ledger.spent.charge.eflops == 1e12


@given(
    st.integers(1, 50),
    st.one_of(st.none(), st.integers(1, 5000)),
    st.integers(1, 100),
    st.integers(1, 2000),
    st.integers(0, 20),
)
def test_a_reservation_is_as_large_as_fits(samples, tokens, sequences, each, aside):
    ledger = Ledger(Budget(samples, tokens))
    if not can_reserve(ledger, sequences, each, aside=aside):
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
    assert not can_reserve(ledger, 1, 1, begins=False)
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


def test_caps_are_lowered_and_never_raised():
    ledger = Ledger(Budget(4, 100, usd=1.0))
    ledger.lower(tokens=40)
    assert (ledger.tokens_left, ledger.budget.usd) == (40, 1.0)
    ledger.lower(tokens=90, usd=0.5)
    assert (ledger.tokens_left, ledger.budget.usd, ledger.budget.samples) == (40, 0.5, 4)
    ledger.lower()
    uncapped = Ledger(Budget(4))
    uncapped.lower(tokens=7)
    assert (ledger.tokens_left, uncapped.tokens_left) == (40, 7)
    assert uncapped.reserve(1, 50).tokens == 7


def test_a_run_that_spent_more_than_a_cap_would_be_seen():
    ledger = Ledger(Budget(4, 100, usd=1.0))
    ledger.settle(ledger.reserve(4, 25, price=lambda *_: Charge(usd=1.0)), 100, charge=Charge(usd=1.0))
    assert not ledger.overspent
    ledger.spent.tokens += 1
    assert ledger.overspent
    ledger.spent.tokens -= 1
    ledger.spent.charge = Charge(usd=1.1)
    assert ledger.overspent
