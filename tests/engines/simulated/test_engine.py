import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.assembly import Assembly
from engines.base import Call, Chunk, EngineRefused, Sample, Usage
from engines.simulated.engine import MODEL, SimulatedEngine
from engines.simulated.problems import SimulatedSettings
from engines.simulated.words import EOS, decode, encode, render
from engines.simulated.world import SimulatedWorld

WORLD = SimulatedWorld()


def prompt(index: int) -> tuple[int, ...]:
    return render([{"role": "user", "content": WORLD.question(index)}])


def call(**changes) -> Call:
    return Call(**{"prompts": (prompt(1), prompt(2)), "n": 2, "max_tokens": 2000} | changes)


async def drawn(engine: SimulatedEngine, asked: Call) -> list[Sample]:
    return list(itertools.chain(*(await engine.sample(asked)).samples))


async def test_it_is_an_engine_that_says_it_is_simulated():
    engine = SimulatedEngine(WORLD)
    assert engine.model == MODEL == "simulated"
    assert await engine.context_length() == 32_768
    assert await engine.ready()
    assert await engine.tokenize([{"role": "user", "content": WORLD.question(1)}]) == prompt(1)
    assert all(sample.text.startswith("[simulated] ") for sample in await drawn(engine, call()))
    await engine.close()


async def test_a_seed_makes_a_call_a_function_of_its_prompts():
    seeded = call(sampling={"seed": 7})
    one = await drawn(SimulatedEngine(WORLD), seeded)
    used = SimulatedEngine(SimulatedWorld())
    await used.sample(call())
    assert await drawn(used, seeded) == one
    wider = (await used.sample(call(n=5, sampling={"seed": 7}))).samples
    assert [*wider[0][:2], *wider[1][:2]] == one
    assert await drawn(used, call(sampling={"seed": 8})) != one
    assert len({sample.text for sample in one}) == 4


async def test_without_a_seed_calls_in_the_same_order_give_the_same():
    one, other = SimulatedEngine(WORLD), SimulatedEngine(SimulatedWorld())
    first = await drawn(one, call())
    assert first == await drawn(other, call())
    second = await drawn(one, call())
    assert second != first
    assert second == await drawn(other, call())


async def test_at_temperature_0_a_prompt_is_continued_in_one_way_and_once():
    engine = SimulatedEngine(WORLD)
    greedy = call(n=1, sampling={"temperature": 0})
    assert await drawn(engine, greedy) == await drawn(engine, greedy)
    with pytest.raises(EngineRefused, match="n must be 1 when using greedy sampling, got 2"):
        await engine.sample(call(sampling={"temperature": 0}))


async def test_a_stop_at_the_separator_ends_a_step_and_the_last_step_ends_by_itself():
    engine = SimulatedEngine(WORLD)
    tokens, steps = prompt(1), WORLD.problem(1).steps
    for step in range(1, steps + 1):
        (sample,) = await drawn(engine, call(prompts=(tokens,), n=1, stop=("\n\n",)))
        last = step == steps
        assert (sample.finish_reason, sample.stopped_at) == ("stop", None if last else "\n\n")
        assert "\n\n" not in sample.text
        assert decode(sample.tokens) == sample.text + ("" if last else "\n\n")
        tokens += sample.tokens
    assert tokens[-1] == EOS
    assert "the answer is" in sample.text


async def test_a_limit_cuts_and_the_next_call_goes_on():
    engine = SimulatedEngine(WORLD)
    (cut,) = await drawn(engine, call(prompts=(prompt(1),), n=1, max_tokens=7))
    assert (len(cut.tokens), cut.finish_reason, cut.stopped_at) == (7, "length", None)
    (rest,) = await drawn(engine, call(prompts=(prompt(1) + cut.tokens,), n=1, stop=("\n\n",)))
    assert not rest.text.startswith("[simulated]")
    assert (cut.text + rest.text).startswith("[simulated] Step 1: ")
    assert rest.finish_reason == "stop"


@given(
    st.integers(0, 50),
    st.lists(st.sampled_from(["\n\n", " the", "we", "ing", "9", "answer is", ", ", "ep 2"]), min_size=1),
)
async def test_stop_strings_cut_as_vllm_cuts(seed, stops):
    engine = SimulatedEngine(WORLD)
    sampling = {"seed": seed}
    (whole,) = await drawn(engine, call(prompts=(prompt(1),), n=1, sampling=sampling, stop=("never",)))
    (sample,) = await drawn(engine, call(prompts=(prompt(1),), n=1, sampling=sampling, stop=tuple(stops)))
    said = ""
    for count, token in enumerate(whole.tokens, 1):
        said += decode((token,))
        found = next((stop for stop in stops if stop in said), None)
        if found is not None:
            assert sample.tokens == whole.tokens[:count]
            assert (sample.text, sample.stopped_at) == (said[: said.index(found)], found)
            return
    assert sample == whole


async def test_the_context_bounds_what_is_generated_and_read():
    engine = SimulatedEngine(SimulatedWorld(SimulatedSettings(context=256)))
    (sample,) = await drawn(engine, call(prompts=(encode("x" * 250),), n=1))
    assert (len(sample.tokens), sample.finish_reason) == (6, "length")
    with pytest.raises(EngineRefused, match="maximum context length is 256 tokens"):
        await engine.sample(call(prompts=(encode("x" * 256),), n=1))


async def test_usage_counts_prompts_once_and_what_the_prefix_cache_held():
    engine = SimulatedEngine(WORLD)
    generation = await engine.sample(call())
    lengths = len(prompt(1)) + len(prompt(2))
    generated = sum(len(s.tokens) for s in itertools.chain(*generation.samples))
    assert generation.usage == Usage(lengths, 0, generated)
    path = prompt(1) + generation.samples[0][0].tokens[:30]
    usage = (await engine.sample(call(prompts=(path, path), n=1))).usage
    assert usage.cached_tokens == 2 * ((len(path) - 1) // 16 * 16)


@pytest.mark.parametrize("seconds", [0.0, 1e-6])
@pytest.mark.parametrize("stop", [(), ("\n\n",), ("we", "this")])
async def test_a_stream_brings_what_the_plain_call_does(seconds, stop):
    asked = call(stop=stop, logprobs=0, sampling={"seed": 3}, max_tokens=60)
    plain = await SimulatedEngine(WORLD).sample(asked)
    assembly = Assembly(asked)
    whole = {}
    async for chunk in SimulatedEngine(WORLD, seconds_per_step=seconds).stream(asked):
        if isinstance(chunk, Chunk):
            sample = assembly.add(chunk)
            if sample:
                whole[chunk.prompt, chunk.choice] = sample
        else:
            assert chunk == plain.usage
    for (p, i), sample in whole.items():
        expected = plain.samples[p][i]
        assert (sample.text, sample.tokens) == (expected.text, expected.tokens)
        assert (sample.finish_reason, sample.stopped_at) == (expected.finish_reason, expected.stopped_at)
        assert sample.logprob == pytest.approx(expected.logprob)
    assert len(whole) == 4


async def test_log_probabilities_are_given_where_asked_for():
    engine = SimulatedEngine(WORLD)
    plain, summed, told = [
        await drawn(engine, call(n=1, logprobs=asked, sampling={"seed": 1})) for asked in (None, 0, 1)
    ]
    assert [sample.logprob for sample in plain] == [None, None]
    assert [sample.logprob for sample in summed] == [sample.logprob for sample in told]
    assert [sample.top_logprobs for sample in summed] == [(), ()]
    for sample in told:
        assert sample.logprob == pytest.approx(sum(sum(top.values()) for top in sample.top_logprobs))
        assert [next(iter(top)) for top in sample.top_logprobs] == [
            decode((token,)) for token in sample.tokens
        ]
        assert sample.logprob < -10


@pytest.mark.parametrize("constraint", ["structured_outputs", "response_format"])
async def test_constraints_that_it_cannot_keep_to_are_refused(constraint):
    with pytest.raises(EngineRefused, match=f"cannot keep to {constraint}. Leave it out."):
        await SimulatedEngine(WORLD).sample(call(sampling={constraint: {"json": {}}}))


async def test_a_large_call_lets_others_run():
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await SimulatedEngine(WORLD).sample(call(n=1000, max_tokens=5))
    counting.cancel()
    assert turns >= 7


async def test_cancelling_a_call_ends_its_waiting():
    engine = SimulatedEngine(WORLD, seconds_per_step=60)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await engine.sample(call())
