"""What a ledger does for a run that was cut off and goes on."""

import pytest

from budgets.budget import Budget, BudgetExhausted
from budgets.ledger import Ledger
from budgets.tariff import Charge


def test_the_clock_stands_where_it_is_told_and_goes_on_from_there():
    now = [50.0]
    ledger = Ledger(Budget(1, seconds=10), lambda: now[0])
    ledger.stand(4.0)
    now[0] = 70.0
    assert (ledger.seconds, ledger.seconds_left) == (4.0, 6.0)
    ledger.go_on()
    now[0] = 73.0
    ledger.go_on()
    assert (ledger.seconds, ledger.seconds_left) == (7.0, 3.0)


def test_what_an_earlier_run_paid_for_is_charged_whatever_the_caps_are():
    ledger = Ledger(Budget(4, 10, usd=1.0))
    again = ledger.reopen(3, 20, Charge(usd=2.0))
    assert ledger.samples_left == 1
    ledger.settle(again, 50, charge=Charge(usd=2.0))
    assert (ledger.spent.samples, ledger.spent.tokens, ledger.spent.charge.usd) == (3, 50, 2.0)
    with pytest.raises(BudgetExhausted):
        ledger.reserve(1, 1)


def test_a_continuation_that_is_charged_again_begins_no_sample():
    ledger = Ledger(Budget(4))
    ledger.settle(ledger.reopen(3, 20, Charge(), begins=False), 50)
    assert (ledger.spent.samples, ledger.spent.tokens) == (0, 50)
