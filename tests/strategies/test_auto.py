from dataclasses import dataclass, field

from budgets.budget import Budget
from engines.base import EngineUnavailable
from engines.scripted import ScriptedEngine
from strategies.advice import Advice
from strategies.auto import Auto
from tests.strategies.bench import TableVerifier, run


@dataclass
class Scripted:
    """Gives its pieces of advice in turn, the last ever after, and remembers what it was shown."""

    pieces: list[Advice]
    seen: list[tuple[list, int]] = field(default_factory=list)

    async def advise(self, seen, left):
        self.seen.append((list(seen), left))
        return self.pieces[min(len(self.seen), len(self.pieces)) - 1]


async def test_without_advice_all_samples_are_drawn_and_a_vote_is_taken():
    ran = await run(Auto(), ["a", "b", "b"], Budget(3))
    assert ran.best == "b"
    assert [call.n for call in ran.engine.calls] == [3]
    assert ran.outcome.estimates == {}


async def test_the_samples_of_the_probe_count_and_are_used():
    end = Advice(0, ("a", "b", "c"), 0.9, "Enough.")
    advisor = Scripted([Advice(2, reason="A probe."), Advice(3), end])
    ran = await run(Auto(), ["a", "b", "c", "a", "a", "never"], Budget(8), advisor=advisor)
    assert [call.n for call in ran.engine.calls] == [2, 3]
    assert ran.ledger.spent.samples == 5
    assert [c.votes for c in ran.outcome.candidates if c.answer == "a"] == [3, 3, 3]
    assert ran.outcome.reasons == ("A probe.", "Enough.")
    assert ran.outcome.estimates == {"right": 0.9}
    assert ran.outcome.stopped_because == "completed"
    assert [left for _, left in advisor.seen] == [8, 6, 3]
    assert advisor.seen[1][0] == [("a", None), ("b", None)]


async def test_answers_come_in_the_order_of_their_probability_and_each_by_its_best_response():
    verifier = TableVerifier({"a": 0.2, "b": 0.9})
    advisor = Scripted([Advice(3), Advice(0, ("a", "b"))])
    ran = await run(Auto(), ["b", "a", "a"], Budget(64), verifier=verifier, advisor=advisor)
    assert [c.answer for c in ran.outcome.candidates] == ["a", "b", "a"]
    assert sorted(advisor.seen[1][0]) == [("a", 0.2), ("a", 0.2), ("b", 0.9)]
    assert sum(map(len, verifier.asked)) == 2  # each text once


async def test_advice_is_replayed_rather_than_asked_for_again():
    advisor = Scripted([Advice(2), Advice(2), Advice(0, ("c", "a", "b"))])
    first = await run(Auto(), list("abca"), Budget(4), verifier=TableVerifier({"c": 1.0}), advisor=advisor)
    unheard = Scripted([Advice(0, ("a",))])
    again = await run(Auto(), [], Budget(4), advisor=unheard, journal=first.search.journal.records)
    assert [c.text for c in again.outcome.candidates] == [c.text for c in first.outcome.candidates]
    assert again.best == "c"
    assert unheard.seen == []


async def test_more_than_the_budget_is_not_drawn_whatever_the_advice():
    ran = await run(Auto(), ["a"] * 9, Budget(3), advisor=Scripted([Advice(9, ("a",))]))
    assert ran.ledger.spent.samples == 3
    assert ran.outcome.stopped_because == "budget_samples"


async def test_what_the_probe_brought_is_answered_with_where_the_engine_fails_after_it():
    script = ScriptedEngine(["a", "a", EngineUnavailable("gone"), EngineUnavailable("gone")])
    ran = await run(Auto(), script, Budget(4), advisor=Scripted([Advice(2, ("a",))]))
    assert ran.best == "a"
    assert ran.outcome.stopped_because == "engine_failed"
