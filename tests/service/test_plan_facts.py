import msgspec
import pytest

from budgets.latency import Factors
from engines.scripted import ScriptedEngine
from service.plan_facts import PlanFacts, facts_of
from service.planning import plan
from tests.service.journals import again, asked, world_of
from tests.service.priced import paid

NOT_COMPARED = ("ledger", "answers", "verifier", "pricing", "advisor")
"""Made anew, and compared by what they are."""


def same(one, other) -> bool:
    """Whether two plans do the same."""
    for name in type(one).__slots__:
        if name not in NOT_COMPARED:
            assert getattr(one, name) == getattr(other, name), name
    assert one.ledger.budget == other.ledger.budget
    assert one.ledger.samples_left == other.ledger.samples_left
    assert other.ledger.seconds_left == pytest.approx(one.ledger.seconds_left, abs=5)
    assert (one.verifier and one.verifier.name) == (other.verifier and other.verifier.name)
    prices = [(p.generator, p.verifier, p.embedder) for p in (one.pricing, other.pricing)]
    assert prices[0] == prices[1]
    return True


class Once(ScriptedEngine):
    """Counts what planning asks."""

    tokenized = 0

    async def tokenize(self, *args, **options):
        self.tokenized += 1
        return await super().tokenize(*args, **options)


REQUESTS = [
    {},
    {"seed": 5, "n": 2, "stop": ["END"], "temperature": 0.7, "reasoning_effort": "low"},
    {"scaling": {"strategy": "best_of_n", "params": {"select": "softmax"}, "budget": {"samples": 3}}},
    {"scaling": {"strategy": "repeated_sampling", "verifier": {"name": "exact", "reference": "15"}}},
    {"scaling": {"strategy": "repeated_sampling", "verifier": "judge", "params": {"waves": [2, 4]}}},
    {"scaling": {"strategy": "auto", "budget": {"samples": 8, "tokens": 4000, "seconds": 9}}},
    {"scaling": {"strategy": "best_of_n", "verifier": "judge", "budget": {"usd": 0.5, "samples": 4}}},
    {"temperature": 0, "scaling": {"budget": {"samples": 4, "eflops": 1e18}}},
]


@pytest.mark.parametrize("fields", REQUESTS, ids=[str(fields)[:60] for fields in REQUESTS])
async def test_a_plan_comes_again_from_its_facts_without_asking_the_engine(tmp_path, fields):
    engine = Once([])
    async with world_of(engine, paid(tmp_path)) as world:
        request = asked(**fields)
        first = await plan(world, request)
        world.tariffs._factors[request.model] = Factors(3.0, 3.0)
        assert same(first, await plan(world, asked(**fields), facts=again(facts_of(first))))
    assert engine.tokenized == 1


async def test_the_advisor_of_a_recommended_plan_knows_what_it_knew():
    async with world_of(ScriptedEngine([])) as world:
        request = asked(scaling={"strategy": "auto", "budget": {"samples": 32}})
        first = await plan(world, request)
        assert first.advisor is not None
        second = await plan(world, request, facts=again(facts_of(first)))
        assert second.advisor == first.advisor
        seen = [("15", None), ("15", None), ("16", None)]
        assert await second.advisor.advise(seen, 20) == await first.advisor.advise(seen, 20)


async def test_facts_have_the_caps_that_the_ledger_was_lowered_to():
    async with world_of(ScriptedEngine([])) as world:
        first = await plan(world, asked())
        first.ledger.lower(tokens=77)
        assert (await plan(world, asked(), facts=facts_of(first))).ledger.budget.tokens == 77


async def test_facts_of_another_request_are_refused():
    async with world_of(ScriptedEngine([])) as world:
        facts = facts_of(await plan(world, asked()))
        with pytest.raises(ValueError, match="another request"):
            await plan(world, asked(seed=1), facts=facts)


async def test_without_a_seed_each_plan_makes_choices_of_its_own():
    async with world_of(ScriptedEngine([])) as world:
        seeds = {(await plan(world, asked())).rng_seed for _ in range(3)}
        assert len(seeds) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"budget": {"samples": 10**9}},
        {"budget": {"samples": 0}},
        {"budget": {"samples": 1, "usd": -1}},
        {"samples": 0},
        {"prompt": [-1]},
        {"seconds": 0},
        {"rng_seed": 2**63},
        {"chosen_by": "chance"},
        {"extra": 1},
    ],
)
async def test_facts_out_of_range_cannot_be_read(change):
    async with world_of(ScriptedEngine([])) as world:
        facts = msgspec.to_builtins(facts_of(await plan(world, asked())))
    assert msgspec.convert(facts, PlanFacts)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(facts | change, PlanFacts)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"strategy": {"name": "guess", "params": {}}}, "no strategy 'guess'"),
        ({"strategy": {"name": "majority", "params": {"k": 0}}}, "k: "),
    ],
)
async def test_a_strategy_that_there_is_not_is_refused(change, says):
    async with world_of(ScriptedEngine([])) as world:
        facts = msgspec.to_builtins(facts_of(await plan(world, asked())))
        with pytest.raises(ValueError, match=says):
            await plan(world, asked(), facts=msgspec.convert(facts | change, PlanFacts))
