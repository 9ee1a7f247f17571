import pytest

from budgets.tariff import Charge
from engines.base import EngineUnavailable, Sample
from strategies.journal import (
    Draw,
    Drawn,
    Journal,
    Lost,
    Opened,
    Reading,
    Refused,
    Retried,
    Scored,
    Settled,
    lost,
)
from verifiers.base import Verdict

CHARGE = Charge(4.0, 2.0, 1.0)


def opened(number: int, within: int | None = None) -> Opened:
    return Opened(number, 2, 20, CHARGE, within)


def draw(number: int | None = None, *, failed: bool = False) -> Draw:
    drawn = [] if failed else [Drawn(0, 0, Sample("a", (1,), "stop"))]
    failure = EngineUnavailable("gone", began=True) if failed else None
    return Draw(1, 10, 20, drawn, tokens=5, failure=failure, charge=CHARGE, opened=number)


def scored(number: int, within: int | None) -> Scored:
    return Scored((b"0" * 16,), Verdict((0.5,), generated=3), CHARGE, opened=number, within=within)


async def test_a_record_is_kept_before_it_is_one():
    journal = Journal()
    seen = []

    async def keep(record):
        seen.append((record, list(journal.records)))

    journal = Journal((), keep)
    await journal.add(Refused("usd"))
    assert seen == [(Refused("usd"), [])]
    assert journal.records == [Refused("usd")]


async def test_calls_are_numbered_on_from_an_earlier_run():
    async def keep(record):
        pass

    journal = Journal([opened(7), draw(7)], keep)
    assert await journal.open(1, 2, CHARGE) == 8
    assert journal.records[-1] == Opened(8, 1, 2, CHARGE)


async def test_where_nobody_keeps_no_call_is_opened():
    journal = Journal()
    assert await journal.open(1, 2, CHARGE) is None
    assert journal.records == []


async def test_a_call_about_samples_still_coming_says_so():
    async def keep(record):
        pass

    journal = Journal((), keep)
    number = await journal.open(1, 2, CHARGE)
    with journal.within(number):
        assert journal.under_way == number
        await journal.open(0, 1, CHARGE)
    await journal.open(0, 1, CHARGE)
    assert [record.within for record in journal.records] == [None, number, None]


def test_each_record_answers_once_and_its_kind_alone():
    one, two = draw(), draw()
    journal = Journal([Settled("why"), one, scored(1, None), two, Refused("tokens")])
    assert journal.unused == 5
    assert [journal.draw() for _ in range(4)] == [one, two, Refused("tokens"), None]
    assert journal.scored((b"0" * 16,)) == scored(1, None)
    assert journal.scored((b"0" * 16,)) is None
    assert [journal.settled(), journal.settled()] == [Settled("why"), None]
    assert journal.unused == 0


def test_a_call_that_settled_is_not_lost():
    assert lost([opened(1), draw(1), opened(2), scored(2, None)]) == Lost()


def test_a_call_that_never_settled_is_lost_at_the_most_that_it_may_have_come_to():
    assert lost([opened(1), draw(1), opened(2)]) == Lost(1, 2, 20, 4.0, 1.0)


def test_verdicts_on_samples_of_a_lost_call_are_lost_at_what_they_cost():
    records = [opened(1), opened(2, 1), scored(2, 1), opened(3), draw(3)]
    assert lost(records) == Lost(2, 2, 23, 8.0, 2.0)
    assert Journal(records).scored((b"0" * 16,)) is None


@pytest.mark.parametrize(
    ("records", "calls"),
    [
        ([draw(1, failed=True), Retried()], 1),
        ([draw(1, failed=True), draw(2, failed=True), Settled(Reading(())), Retried()], 2),
        ([draw(1, failed=True), draw(2), Retried()], 0),
        ([draw(1), Retried()], 0),
        ([draw(1, failed=True), Retried(), draw(2, failed=True)], 1),
        ([draw(1, failed=True)], 0),
    ],
)
def test_a_retry_passes_over_the_failures_that_ended_the_try_before(records, calls):
    assert lost([opened(1), opened(2), *records, draw(1), draw(2)]).calls == calls
    journal = Journal(records)
    failures = sum(isinstance(record, Draw) and record.failure is not None for record in records)
    left = sum(found.failure is not None for found in iter(journal.draw, None))
    assert left == failures - calls
    assert journal.settled() is None or not calls
