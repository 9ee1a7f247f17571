"""What every strategy keeps, one parametrised test each."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgets.budget import Budget
from engines.base import EngineError, EngineUnavailable
from engines.scripted import ScriptedEngine
from strategies.journal import Draw
from strategies.pricing import Pricing
from strategies.registry import BadParameter, build, describe, registry
from tests.strategies.bench import TARIFF, TableVerifier, run

EVERY = [
    ("auto", {}),
    ("best_of_n", {}),
    ("best_of_n", {"select": "softmax"}),
    ("best_of_n", {"select": "weighted"}),
    ("best_of_majority", {}),
    ("majority", {}),
    ("majority", {"stop": "beta"}),
    ("majority", {"stop": "ahead_by_k", "wave": 4}),
    ("repeated_sampling", {}),
    ("repeated_sampling", {"accept": 2, "waves": (3,)}),
    ("particle_filtering", {}),
    ("particle_filtering", {"select": "weighted", "resample": "residual", "ess_threshold": 0.5}),
    ("particle_filtering", {"select": "sample", "resample": "stratified", "anneal": "entropic"}),
    ("particle_filtering", {"iterations": 3, "resample": "systematic"}),
    ("beam_search", {}),
    ("beam_search", {"keep": 2, "select": "argmax"}),
    ("diverse_verifier_tree_search", {"branches": 2}),
    ("rebase", {}),
    ("efficient_tree_search", {}),
    ("efficient_tree_search", {"node_cost": "count", "cost_weight": 4.0}),
]
every_strategy = pytest.mark.parametrize(("name", "params"), EVERY, ids=[f"{n} {p}" for n, p in EVERY])


def verifier() -> TableVerifier:
    return TableVerifier(lambda text: (hash_of(text) % 10) / 10)


def hash_of(text: str) -> int:
    return sum(map(ord, text))


def test_every_strategy_is_held_to_the_contract():
    assert {name for name, _ in EVERY} == set(registry())


@every_strategy
@settings(max_examples=25, deadline=None)
@given(
    samples=st.integers(1, 12),
    tokens=st.one_of(st.none(), st.integers(1, 400)),
    lengths=st.lists(st.integers(1, 60), min_size=12, max_size=12),
    verdict_tokens=st.integers(0, 3),
)
async def test_never_spends_above_a_cap(name, params, samples, tokens, lengths, verdict_tokens):
    script = iter("ab"[i % 2] * lengths[i % 12] for i in range(10_000))
    table = TableVerifier(lambda text: 0.4, max_tokens=verdict_tokens, generated=verdict_tokens)
    ran = await run(build(name, params), ScriptedEngine(script), Budget(samples, tokens), verifier=table)
    assert ran.ledger.spent.samples <= samples
    assert tokens is None or ran.ledger.spent.tokens <= tokens
    assert ran.ledger.samples_left >= 0
    assert ran.ledger.spent.tokens >= ran.engine.generated


@every_strategy
@settings(max_examples=15, deadline=None)
@given(
    samples=st.integers(1, 12),
    cap=st.floats(9, 15),
    unit=st.sampled_from(["eflops", "usd"]),
    lengths=st.lists(st.integers(1, 60), min_size=12, max_size=12),
    verdict_tokens=st.integers(0, 3),
    verifier_paid=st.booleans(),
)
async def test_never_spends_above_a_cap_on_its_price(
    name, params, samples, cap, unit, lengths, verdict_tokens, verifier_paid
):
    most = 10**cap * (1 if unit == "eflops" else 1e-17)
    script = iter("ab"[i % 2] * lengths[i % 12] for i in range(10_000))
    table = TableVerifier(lambda text: 0.4, max_tokens=verdict_tokens, generated=verdict_tokens)
    pricing = Pricing(TARIFF, TARIFF if verifier_paid else None)
    budget = Budget(samples, **{unit: most})
    ran = await run(build(name, params), ScriptedEngine(script), budget, verifier=table, pricing=pricing)
    assert getattr(ran.ledger.spent.charge, unit) <= most
    assert (ran.ledger.spent.charge.eflops > 0) == (ran.ledger.spent.tokens > 0)
    if not ran.engine.generated:
        assert ran.outcome.stopped_because == f"budget_{unit}"


@every_strategy
async def test_answers_with_a_budget_of_one_sample(name, params):
    ran = await run(build(name, params), ["a"], Budget(1), verifier=verifier())
    assert ran.texts == ["a"]


@every_strategy
async def test_answers_where_all_candidates_are_equal(name, params):
    ran = await run(build(name, params), ["same"] * 6, Budget(6), verifier=TableVerifier({"same": 0.3}))
    assert ran.best == "same"


@every_strategy
async def test_answers_where_every_score_is_missing_or_nan(name, params):
    for score in (None, float("nan")):
        ran = await run(
            build(name, params), list("abcdef"), Budget(6), verifier=TableVerifier(lambda _, s=score: s)
        )
        assert ran.texts[0] == "a"


@every_strategy
async def test_uses_the_samples_that_did_not_fail_and_says_so(name, params):
    script = ["a", EngineError("lost"), "b", "a", EngineError("lost"), "a"]
    ran = await run(build(name, params), script, Budget(6), verifier=TableVerifier({"a": 0.4}))
    assert ran.best == "a"
    assert ran.search.warnings


@every_strategy
async def test_returns_nothing_but_the_failure_where_the_engine_fails_at_once(name, params):
    failing = [EngineUnavailable("The engine cannot be reached.")] * 100
    ran = await run(build(name, params), failing, Budget(6), verifier=verifier())
    assert ran.outcome.candidates == ()
    assert isinstance(ran.search.failure, EngineUnavailable)


@every_strategy
async def test_the_same_seed_and_samples_give_the_same_outcome(name, params):
    script = ["b", "a", "cc", "a", "dd", "b"]
    one, two = [
        await run(build(name, params), list(script), Budget(6), verifier=verifier(), seed=9) for _ in range(2)
    ]
    assert one.outcome == two.outcome
    seeds = [[call.sampling["seed"] for call in ran.engine.calls] for ran in (one, two)]
    assert seeds[0] == seeds[1]


@every_strategy
async def test_replays_from_its_journal_without_a_call(name, params):
    script = ["b", "a", "cc", "a", "dd", "b"]
    first = await run(build(name, params), script, Budget(6), verifier=verifier(), seed=9)
    silent = TableVerifier({}, fails=EngineError("asked again"))
    again = await run(
        build(name, params), [], Budget(6), verifier=silent, seed=9, journal=first.search.journal.records
    )
    assert again.outcome == first.outcome
    assert again.engine.calls == []
    assert silent.asked == []
    assert again.ledger.spent == first.ledger.spent


@every_strategy
async def test_goes_on_with_the_engine_where_the_journal_ends(name, params):
    script = ["b", "a", "cc", "a", "dd", "b"]
    whole = await run(build(name, params), list(script), Budget(6), verifier=verifier(), seed=9)
    records = whole.search.journal.records
    first = next(i for i, record in enumerate(records) if isinstance(record, Draw))
    kept = records[: first + 1]
    drawn = whole.engine.calls[0].n
    resumed = await run(
        build(name, params), script[drawn:], Budget(6), verifier=verifier(), seed=9, journal=kept
    )
    assert resumed.outcome == whole.outcome
    assert len(resumed.engine.calls) == len(whole.engine.calls) - 1


@every_strategy
async def test_keeps_what_finished_before_the_deadline(name, params):
    engine = ScriptedEngine(["a", "b" * 5000] * 6, step_seconds=0.002)
    budget = Budget(6, None, 0.3)
    ran = await run(build(name, params), engine, budget, verifier=TableVerifier({"a": 0.1}), max_tokens=5000)
    assert ran.texts[0] == "a"
    assert ran.outcome.stopped_because == "budget_seconds"
    assert ran.ledger.spent.tokens == engine.generated


@every_strategy
def test_describes_its_parameters_and_source(name, params):
    described = describe(registry()[name])
    assert described["params"]["type"] == "object"
    assert "Source:" in described["description"]
    assert all("description" in schema for schema in described["params"].get("properties", {}).values())


def test_an_unknown_parameter_is_refused_with_those_that_exist():
    with pytest.raises(BadParameter, match=r"has no parameter 'alhpa'. It has alpha"):
        build("best_of_majority", {"alhpa": 0.1})


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("best_of_majority", {"alpha": float("nan")}),
        ("best_of_majority", {"alpha": 2}),
        ("majority", {"stop": "sometimes"}),
        ("majority", {"confidence": 1.0}),
        ("majority", {"k": 0}),
        ("repeated_sampling", {"waves": []}),
        ("repeated_sampling", {"waves": [0]}),
        ("repeated_sampling", {"accept_at": float("inf")}),
        ("best_of_n", {"temperature": 0}),
    ],
)
def test_a_parameter_out_of_range_is_refused_by_name(name, params):
    with pytest.raises(BadParameter) as refused:
        build(name, params)
    assert refused.value.param.startswith(next(iter(params)))


@every_strategy
async def test_replays_a_run_whose_engine_failed_midway(name, params):
    script = ["b" * 30, "a", "c", EngineUnavailable("down", began=True), *["d"] * 9]
    budget = Budget(3, 60)
    first = await run(build(name, params), script, budget, verifier=verifier(), seed=9)
    again = await run(
        build(name, params), [], budget, verifier=verifier(), seed=9, journal=first.search.journal.records
    )
    assert again.outcome == first.outcome
    assert again.ledger.spent == first.ledger.spent
    assert again.engine.calls == []
