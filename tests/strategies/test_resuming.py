"""What holds of every strategy whose run was cut off and goes on: its journal is whole whatever the moment."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgets.budget import Budget
from budgets.ledger import Ledger
from engines.base import EngineError, EngineUnavailable
from strategies.base import Problem
from strategies.journal import Draw, Journal, Opened, Record, Refused, Retried, Scored, lost
from strategies.journal_codec import decode_record
from strategies.registry import build
from strategies.search import Search
from tests.stand_ins import until
from tests.strategies.attempts import (
    CALL_SECONDS,
    KEEP_SECONDS,
    Clock,
    Engine,
    Verifier,
    attempt,
    cut,
    sent,
    told,
)
from tests.strategies.test_contract import every_strategy
from verifiers.answers import make_answers
from verifiers.workers import Workers

REPLIES = st.lists(
    st.sampled_from(
        [
            "a",
            "b" * 30,
            "so\n\n",
            "thus" * 4 + "\n\n",
            EngineError("lost"),
            EngineUnavailable("gone", began=True),
        ]
    ),
    min_size=1,
    max_size=8,
).map(lambda replies: ["a", *replies])
BUDGETS = st.builds(
    Budget,
    samples=st.integers(1, 8),
    tokens=st.one_of(st.none(), st.integers(5, 300)),
    seconds=st.one_of(st.none(), st.floats(0.5, 12)),
    eflops=st.one_of(st.none(), st.floats(1e11, 1e14)),
)


@every_strategy
@settings(max_examples=30, deadline=None)
@given(
    budget=BUDGETS,
    before=REPLIES,
    after=REPLIES,
    cuts=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    verdict_tokens=st.integers(0, 2),
)
async def test_a_run_goes_on_from_any_record_and_replays_from_its_whole_journal(
    name, params, budget, before, after, cuts, verdict_tokens
):
    strategy, options = (name, params), {"verdict_tokens": verdict_tokens}
    first = await attempt(strategy, budget, before, **options)
    second = await attempt(strategy, budget, after, cut(first.records, cuts[0]), **options)
    kept = cut(second.records, cuts[1])
    third = await attempt(strategy, budget, before, kept, **options)
    assert sent(third.records)[: len(kept)] == sent(kept)
    spent = third.ledger.spent
    assert spent.samples <= budget.samples
    assert budget.tokens is None or spent.tokens <= budget.tokens
    assert budget.eflops is None or spent.charge.eflops <= budget.eflops
    assert (
        budget.seconds is None
        or third.ledger.seconds < budget.seconds + CALL_SECONDS * 1.5 + KEEP_SECONDS * 4
    )

    again = await attempt(strategy, budget, ["never"], cut(third.records, 1.0), **options)
    assert again.engine.calls == []
    assert again.outcome == third.outcome
    assert again.ledger.spent == third.ledger.spent
    assert again.search.warnings == third.search.warnings
    assert told(again.search) == told(third.search)
    assert again.search.journal.unused == 0
    assert sent(again.records) == sent(third.records)


@every_strategy
@settings(max_examples=10, deadline=None)
@given(budget=BUDGETS, replies=REPLIES, share=st.floats(0, 1))
async def test_all_that_is_paid_for_is_spent_or_lost(name, params, budget, replies, share):
    first = await attempt((name, params), budget, replies)
    kept = cut(first.records, share)
    resumed = await attempt((name, params), budget, replies, kept)
    gone = lost(resumed.records)
    settled = [r for r in resumed.records if isinstance(r, Draw | Scored)]
    paid = sum(r.tokens if isinstance(r, Draw) else r.verdict.generated for r in settled)
    opened = {r.number: r for r in resumed.records if isinstance(r, Opened)}
    unsettled = opened.keys() - {getattr(r, "opened", None) for r in resumed.records}
    assert resumed.ledger.spent.tokens + gone.tokens == paid + sum(opened[n].tokens for n in unsettled)
    # At the moment of the cut one call was under way, and perhaps one about its samples.
    assert len(unsettled) <= 2
    assert lost(first.records).calls == 0


@every_strategy
async def test_without_a_seed_another_attempt_makes_the_same_choices(name, params):
    replies = ["a", "so\n\n", "b", "thus\n\n"]
    first = await attempt((name, params), Budget(6), replies)
    again = await attempt((name, params), Budget(6), ["never"], cut(first.records, 1.0))
    assert again.outcome == first.outcome
    assert all("seed" not in call.sampling for call in first.engine.calls)


async def test_an_attempt_has_the_seconds_that_those_before_it_left():
    strategy = ("repeated_sampling", {"waves": (1,), "accept_at": 2.0})
    budget = Budget(100, seconds=7.0)
    first = await attempt(strategy, budget, ["a", "b"])
    calls = len(first.engine.calls)
    for share in (0.3, 0.6, 0.9):
        kept = cut(first.records, share)
        resumed = await attempt(strategy, budget, ["a", "b"], kept)
        assert resumed.outcome.stopped_because == "budget_seconds"
        made = sum(isinstance(record, Draw) for record in kept)
        assert len(resumed.engine.calls) + made <= calls + 1


async def test_where_time_ran_out_between_two_calls_it_ran_out_in_the_replay():
    strategy = ("repeated_sampling", {"waves": (1,), "accept_at": 2.0})
    first = await attempt(strategy, Budget(100, seconds=4.5), ["a", "b"])
    assert any(isinstance(record, Refused) and record.unit == "seconds" for record in first.records)
    again = await attempt(strategy, Budget(100, seconds=4.5), ["never"], cut(first.records, 1.0))
    assert again.engine.calls == []
    assert again.outcome == first.outcome


async def test_what_was_found_about_samples_of_a_call_that_never_settled_is_lost():
    strategy, replies = ("repeated_sampling", {"waves": (4,), "accept_at": 2.0}), ["a", "b", "c", "d"]
    first = await attempt(strategy, Budget(4), replies)
    under_way = next(i for i, record in enumerate(first.records) if isinstance(record, Draw))
    records = [decode_record(line) for line in sent(first.records[:under_way])]
    scored = [record for record in records if isinstance(record, Scored)]
    assert len(scored) == 4
    second = await attempt(strategy, Budget(4), replies, records)
    assert [len(texts) for texts in second.search.verifier.asked] == [1, 1, 1, 1]
    draw = next(record for record in records if isinstance(record, Opened))
    gone = lost(second.records)
    assert gone.calls == 5
    assert gone.samples == 4
    assert gone.tokens == draw.tokens + sum(record.verdict.generated for record in scored)
    assert gone.eflops == pytest.approx(draw.charge.eflops + sum(record.charge.eflops for record in scored))


@pytest.mark.parametrize("kind", [Draw, Scored])
async def test_the_clock_goes_on_from_the_last_record(kind):
    strategy = ("repeated_sampling", {"waves": (1,), "accept_at": 2.0})
    whole = await attempt(strategy, Budget(3), ["a", "b"])
    last = next(i for i, record in enumerate(whole.records) if isinstance(record, kind))
    resumed = await attempt(strategy, Budget(3), ["b", "a"], whole.records[: last + 1])
    rest = [[r.at for r in ran.records[last + 1 :] if not isinstance(r, Opened)] for ran in (whole, resumed)]
    assert rest[0]
    assert rest[1] == pytest.approx(
        [at - KEEP_SECONDS for at in rest[0]]
    )  # that of the last record is not known


async def test_calls_have_the_seeds_that_they_would_have_had():
    strategy, replies = ("repeated_sampling", {"waves": (1,), "accept_at": 2.0}), ["a", "b", "c"]
    whole = await attempt(strategy, Budget(3), replies, seed=5)
    resumed = await attempt(strategy, Budget(3), replies, cut(whole.records, 0.5), seed=5)
    seeds = [[call.sampling["seed"] for call in ran.engine.calls] for ran in (whole, resumed)]
    assert 0 < len(seeds[1]) < len(seeds[0])
    assert seeds[0][-len(seeds[1]) :] == seeds[1]


async def test_where_no_time_was_left_to_score_in_there_is_none_in_the_replay():
    budget = Budget(4, seconds=CALL_SECONDS + 2.5 * KEEP_SECONDS)
    first = await attempt(("best_of_n", {}), budget, ["a", "b"])
    assert [c.score for c in first.outcome.candidates] == [None] * 4
    again = await attempt(("best_of_n", {}), budget, ["never"], cut(first.records, 1.0))
    assert again.search.verifier.asked == []
    assert again.outcome == first.outcome


async def test_a_call_that_is_cancelled_stays_open_in_the_journal_and_is_charged():
    kept: list[Record] = []

    async def keep(record: Record) -> None:
        kept.append(record)

    class Hangs(Engine):
        async def sample(self, call):
            self.calls.append(call)
            await asyncio.Event().wait()

    engine, ledger = Hangs(["a"], Clock()), Ledger(Budget(2))
    problem = Problem(({"role": "user", "content": "?"},), (1, 2, 3), 100)
    answers = make_answers("text", workers=Workers())
    search = Search(engine, problem, ledger, answers, journal=Journal((), keep))
    task = asyncio.create_task(build("majority", {}).run(search))
    await until(lambda: bool(engine.calls))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [type(record) for record in kept] == [Opened]
    assert lost(kept).tokens == ledger.spent.tokens == 200


class Died(Exception):
    """The store is gone, or another has the job."""


@every_strategy
@pytest.mark.parametrize("records", range(4))
async def test_what_cannot_be_kept_is_not_used(name, params, records):
    kept: list[Record] = []

    async def keep(record: Record) -> None:
        if len(kept) == records:
            raise Died
        kept.append(record)

    clock = Clock()
    engine = Engine(["a", "so\n\n", "b"], clock)
    search = Search(
        engine,
        Problem(({"role": "user", "content": "?"},), (1, 2, 3), 100),
        Ledger(Budget(6), clock),
        make_answers("text", workers=Workers()),
        verifier=Verifier(clock, 1),
        journal=Journal((), keep),
    )
    with pytest.raises(Died):
        await build(name, params).run(search)
    assert len(engine.calls) <= sum(isinstance(record, Opened) for record in kept)
    assert search.journal.records == kept


async def test_a_failure_that_ended_a_run_is_not_replayed_after_a_retry():
    strategy, budget = ("majority", {}), Budget(3, 200)
    failed = await attempt(strategy, budget, [EngineUnavailable("gone", began=True)])
    assert failed.outcome.candidates == ()
    records = [*cut(failed.records, 1.0), Retried()]
    retried = await attempt(strategy, budget, ["a", "b", "a"], records)
    assert retried.outcome.candidates
    assert retried.ledger.spent.samples == 3
    gone = lost(retried.records)
    assert (gone.calls, gone.samples) == (1, 3)
    assert gone.tokens == failed.ledger.spent.tokens
    again = await attempt(strategy, budget, ["never"], cut(retried.records, 1.0))
    assert again.outcome == retried.outcome


async def test_a_failure_that_the_run_went_on_after_is_history():
    strategy = ("repeated_sampling", {"waves": (1,), "accept_at": 2.0})
    first = await attempt(strategy, Budget(3), ["a", "b", "c"])
    records = [*cut(first.records, 1.0), Retried()]
    again = await attempt(strategy, Budget(3), ["never"], records)
    assert again.engine.calls == []
    assert again.outcome == first.outcome
    assert lost(records).calls == 0


async def test_equal_answers_of_two_attempts_are_one_answer():
    strategy = ("repeated_sampling", {"waves": (1,), "accept_at": 2.0})
    first = await attempt(strategy, Budget(2), ["$\\frac{1}{2}$"], format="math")
    second = await attempt(strategy, Budget(2), ["$\\frac{2}{4}$"], cut(first.records, 0.5), format="math")
    assert {candidate.answer for candidate in second.outcome.candidates} == {"\\frac{1}{2}"}
    assert [candidate.votes for candidate in second.outcome.candidates] == [2, 2]
