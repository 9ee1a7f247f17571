"""A journal that is not of the run that asks: told, never used."""

import pytest

from budgets.budget import Budget
from budgets.ledger import Ledger
from engines.base import Sample
from strategies.advice import Advice
from strategies.auto import Auto
from strategies.best_of_n import BestOfN
from strategies.efficient_tree_search import EfficientTreeSearch
from strategies.journal import Draw, Drawn, Journal, Reading, Scored, Settled
from strategies.majority import Majority
from strategies.recording import JournalMismatch, Recording
from strategies.scoring import digest
from strategies.selection import Selection
from tests.strategies.bench import TableVerifier, run
from verifiers.base import Embedded, Verdict


def drawn(prompt: int, choice: int, text: str = "a", finish: str = "stop") -> Drawn:
    return Drawn(prompt, choice, Sample(text, tuple(map(ord, text)), finish))


@pytest.mark.parametrize(
    ("draw", "says"),
    [
        (Draw(1, 100, 500), "5 samples"),
        (Draw(1, 1000, 4000), "1000 tokens"),
        (Draw(1, 100, 50), "0 samples"),
        (Draw(2, 100, 400), "other prefixes"),
        (Draw(1, 100, 400, [drawn(1, 0)]), "other prefixes"),
        (Draw(1, 100, 400, [drawn(0, 4)]), "other prefixes"),
        (Draw(1, 100, 400, [drawn(-1, 0)]), "other prefixes"),
        (Draw(1, 100, 400, [drawn(0, 0), drawn(0, 0)]), "other prefixes"),
        (Draw(1, 100, 400, [drawn(0, 0)], tokens=401), "more tokens"),
    ],
)
async def test_a_call_that_the_run_would_not_make_is_refused(draw, says):
    with pytest.raises(JournalMismatch, match=says):
        await run(Majority(), [], Budget(4), journal=[draw])


async def test_a_smaller_call_is_one_that_had_less_room():
    ran = await run(
        Majority(), [], Budget(4), journal=[Draw(1, 50, 100, [drawn(0, 1)], 1, limited_by="tokens")]
    )
    assert ran.texts == ["a"]
    assert ran.ledger.spent.samples == 2
    assert ran.outcome.stopped_because == "budget_tokens"


async def test_more_scores_than_texts_are_refused():
    scored = Scored((digest("a"),), Verdict((0.1, 0.2)))
    records = [Draw(1, 100, 100, [drawn(0, 0)], 1), scored]
    with pytest.raises(JournalMismatch, match="2 scores are recorded of 1 texts"):
        await run(BestOfN(), [], Budget(1), verifier=TableVerifier({}), journal=records)


async def test_answers_of_other_responses_are_refused():
    records = [Draw(1, 100, 100, [drawn(0, 0)], 1), Settled(Reading(("a", "b")))]
    with pytest.raises(JournalMismatch, match="1 answers were asked for"):
        await run(Majority(), [], Budget(1), journal=records)


async def test_a_finding_of_another_kind_is_refused():
    with pytest.raises(JournalMismatch, match="another kind"):
        await run(Auto(), [], Budget(1), journal=[Settled(Reading(()))])
    with pytest.raises(JournalMismatch, match="another kind"):
        await run(
            Majority(), [], Budget(1), journal=[Draw(1, 100, 100, [drawn(0, 0)], 1), Settled(Advice(1))]
        )


class Silent:
    async def embed(self, texts, *, seconds=None):
        raise AssertionError("asked again")


@pytest.mark.parametrize(
    ("findings", "says"),
    [
        ([Settled(Selection((7,), 1.0, True))], "leaves that there were not"),
        ([Settled(Selection((0,), 1.0, True))], "leaves that there were not"),
    ],
)
async def test_a_selection_of_other_leaves_is_refused(findings, says):
    cut = [drawn(0, i, "step", "length") for i in range(2)]
    records = [Draw(1, 4, 8, cut, 8), *findings]
    with pytest.raises(JournalMismatch, match=says):
        await run(
            EfficientTreeSearch(step_tokens=4),
            [],
            Budget(2),
            verifier=TableVerifier(lambda text: 0.5),
            journal=records,
        )


@pytest.mark.parametrize(
    "vectors", [((1.0,),), ((1.0,), (1.0, 2.0)), ()], ids=["too few", "of two lengths", "none"]
)
async def test_vectors_of_other_texts_are_refused(vectors):
    cut = [drawn(0, i, "step", "length") for i in range(2)]
    records = [Draw(1, 4, 8, cut, 8), Settled(Embedded(vectors))]
    with pytest.raises(JournalMismatch, match="vectors are recorded of 2 texts"):
        await run(
            EfficientTreeSearch(step_tokens=4),
            [],
            Budget(2),
            verifier=TableVerifier(lambda text: 0.5),
            embedder=Silent(),
            journal=records,
        )


async def test_what_cannot_be_opened_reserves_nothing():
    async def keep(record):
        raise ConnectionError

    ledger = Ledger(Budget(4, 100))
    recording = Recording(Journal((), keep), ledger)
    with pytest.raises(ConnectionError):
        await recording.open(ledger.reserve(2, 10))
    assert (ledger.samples_left, ledger.tokens_left) == (4, 100)
