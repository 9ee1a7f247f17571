"""A job's journal, run again without engine, verifier or network."""

import asyncio
import json
from contextlib import suppress
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.base import EngineUnavailable
from engines.scripted import ScriptedEngine
from service.journal_file import JournalError, read_journal
from service.replaying import replay
from tests.service.journals import body, recorded, world_of
from tests.service.priced import paid
from verifiers.workers import Workers

STEPS = ["Seven and eight.\n\n", "That makes 15.", "So 15.", "Add.\n\n"]
RUNS = [
    {"scaling": {"budget": {"samples": 4}}},
    {"scaling": {"budget": {"samples": 4, "tokens": 60}, "answer": {"format": "number"}}},
    {"scaling": {"budget": {"samples": 4, "usd": 0.5}, "answer": {"format": "math"}}, "seed": 4, "n": 2},
    {"scaling": {"strategy": "best_of_n", "budget": {"samples": 4, "seconds": 30}}},
    {"scaling": {"strategy": "best_of_n", "params": {"select": "softmax"}, "budget": {"samples": 4}}},
    {
        "scaling": {
            "strategy": "repeated_sampling",
            "verifier": {"name": "exact", "reference": "15"},
            "budget": {"samples": 4},
        }
    },
    {"scaling": {"strategy": "particle_filtering", "budget": {"samples": 4}}},
    {"scaling": {"strategy": "efficient_tree_search", "budget": {"samples": 4}}},
    {"scaling": {"strategy": "auto", "budget": {"samples": 8}}},
    {"scaling": {"strategy": "best_of_n", "verifier": "judge", "budget": {"samples": 4, "tokens": 200}}},
    {"scaling": {"budget": {"samples": 1, "eflops": 1.0}}},
]


def engine() -> ScriptedEngine:
    def script(prompt: str):
        while True:
            yield from STEPS

    return ScriptedEngine(script)


async def replayed(data: bytes):
    workers = Workers()
    try:
        return await replay(read_journal(data), workers)
    finally:
        await workers.close()


@pytest.mark.parametrize("fields", RUNS, ids=[str(fields["scaling"])[:70] for fields in RUNS])
async def test_a_replay_gives_the_recorded_result(tmp_path, fields):
    async with world_of(engine(), paid(tmp_path)) as world:
        data = await recorded(world, body(**fields))
    result = json.loads(data.splitlines()[-1])["result"]
    found = await replayed(data)
    assert found.differences == ()
    if "error" in result:
        assert found.outcome["error"]["code"] == result["error"]["code"]
    else:
        assert found.outcome["candidates"] == result["candidates"]
        assert found.outcome["scaling"]["spent"]["tokens"] > 0


@pytest.mark.parametrize("fields", RUNS, ids=[str(fields["scaling"])[:70] for fields in RUNS])
async def test_so_does_one_of_a_run_that_another_worker_finished(tmp_path, fields):
    async with world_of(engine(), paid(tmp_path)) as world:
        first = read_journal(await recorded(world, body(**fields)))
        half = first.records[: max(1, len(first.records) // 2)]
        data = await recorded(world, body(**fields), half, first.facts)
    journal = read_journal(data)
    assert journal.facts == first.facts
    assert journal.records[: len(half)] != ()
    assert (await replayed(data)).differences == ()


async def test_what_was_lost_stands_in_the_reply_and_beside_what_was_spent(tmp_path):
    fields = {"scaling": {"budget": {"samples": 4, "tokens": 100}}}
    async with world_of(engine(), paid(tmp_path)) as world:
        whole = read_journal(await recorded(world, body(**fields)))
        data = await recorded(world, body(**fields), whole.records[:1], whole.facts)
    assert whole.result["scaling"]["spent"]["lost"] is None
    outcome = (await replayed(data)).outcome
    told = outcome["scaling"]["spent"]["lost"]
    assert (told["calls"], told["samples"], told["tokens"]) == (1, 4, 100)
    assert told["usd"] > 0
    spent = [reply["scaling"]["spent"]["tokens"] for reply in (outcome, whole.result)]
    assert spent[0] == spent[1] <= 100


async def test_a_run_that_the_engine_failed_is_replayed_as_the_failure():
    failing = ScriptedEngine([EngineUnavailable("The engine cannot be reached.")] * 9)
    async with world_of(failing) as world:
        data = await recorded(world, body())
    found = await replayed(data)
    assert found.outcome["error"]["code"] == "engine_unavailable"
    assert found.differences == ()


@pytest.fixture
async def lines():
    async with world_of(engine()) as world:
        data = await recorded(world, body(scaling={"strategy": "best_of_n", "budget": {"samples": 4}}))
    return data.splitlines(keepends=True)


def told(line: bytes, **changes) -> bytes:
    return json.dumps(json.loads(line) | changes).encode() + b"\n"


async def test_a_result_that_was_changed_differs_where_it_was(lines):
    result = json.loads(lines[-1])["result"]
    result["candidates"][1]["text"] = "16"
    result["scaling"]["spent"]["tokens"] += 1
    found = await replayed(b"".join([*lines[:-1], told(b"{}", result=result)]))
    assert found.differences == ("candidates.1.text", "scaling.spent.tokens")


async def test_times_are_not_compared(lines):
    result = json.loads(lines[-1])["result"]
    result["scaling"]["spent"]["seconds"] += 1
    result["trace"][0]["at"] += 1
    found = await replayed(b"".join([*lines[:-1], told(b"{}", result=result)]))
    assert found.differences == ()


async def test_without_a_result_nothing_differs(lines):
    found = await replayed(b"".join(lines[:-1]))
    assert found.outcome["object"] == "scaling.outcome"
    assert found.differences == ()


def of_another_request(lines):
    header = json.loads(lines[0])
    header["request"]["seed"] = 1
    return [told(b"{}", **header), *lines[1:]]


def with_facts(lines, **facts):
    header = json.loads(lines[0])
    header["facts"] |= facts
    return [told(b"{}", **header), *lines[1:]]


DRAW = 2


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (of_another_request, "another request"),
        (lambda lines: with_facts(lines, strategy={"name": "guess", "params": {}}), "no strategy"),
        (lambda lines: lines[:1] + lines[-1:], "ends before a call for 4 samples"),
        (lambda lines: [*lines[:DRAW], *lines[DRAW + 1 :]], "ends before a call"),
        (lambda lines: [*lines[:-1], lines[DRAW], lines[-1]], "1 records that a run of its request"),
        (lambda lines: [*lines[:DRAW], told(lines[DRAW], most=100), *lines[DRAW + 1 :]], "other prefixes"),
        (lambda lines: [*lines[:DRAW], told(lines[DRAW], most=500), *lines[DRAW + 1 :]], "10 samples of"),
        (
            lambda lines: [*lines[:DRAW], told(lines[DRAW], drawn=[]), *lines[DRAW + 1 :]],
            "answers|does not ask",
        ),
    ],
)
async def test_a_journal_of_no_run_of_its_request_is_refused(lines, spoil, says):
    with pytest.raises(JournalError, match=says):
        await replayed(b"".join(spoil(lines)))


async def test_a_run_that_spent_more_than_it_was_granted_is_told(tmp_path):
    async with world_of(engine(), paid(tmp_path)) as world:
        data = await recorded(world, body(scaling={"budget": {"samples": 4, "usd": 0.5}}))
    lines = data.splitlines(keepends=True)
    costly = [*lines[:DRAW], told(lines[DRAW], charge=[1.0, 1.0, 0.75]), *lines[DRAW + 1 :]]
    with pytest.raises(JournalError, match=r"spent 0.75 usd, and was granted 0.5"):
        await replayed(b"".join(costly))


def places(value, path=()):
    """Where a JSON value holds something, itself among it."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def with_one_changed(line: bytes, pick: int, new) -> bytes:
    whole = {"": json.loads(line)}
    *path, last = [("", *place) for place in places(whole[""])][pick % len(list(places(whole[""])))]
    inside = whole
    for key in path:
        inside = inside[key]
    inside[last] = new
    return json.dumps(whole[""]).encode() + b"\n"


@cache
def journal_of(index: int) -> tuple[bytes, ...]:
    """The lines of the journal of one of `RUNS`."""

    async def run() -> bytes:
        async with world_of(engine()) as world:
            return await recorded(world, body(**RUNS[index]))

    return tuple(asyncio.run(run()).splitlines(keepends=True))


JSON = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 40),
    st.sampled_from([2**31, 2**53, 10**15, 10**30, -0.5, 1e-300, 1e30, 1e308]),
    st.text(max_size=4),
    st.sampled_from(["samples", "seconds", "15", "length", "majority", "self_certainty"]),
    st.lists(st.integers(-1, 5), max_size=3),
    st.just({}),
)


@settings(max_examples=400, deadline=None)
@given(
    run=st.sampled_from([0, 3, 5, 6, 7, 8, 9]),
    changes=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 10_000), JSON), min_size=1, max_size=3),
    order=st.randoms(use_true_random=False) | st.none(),
)
def test_a_journal_that_somebody_changed_is_replayed_or_refused_and_nothing_else(run, changes, order):
    lines = list(journal_of(run))
    for line, pick, new in changes:
        lines[line % len(lines)] = with_one_changed(lines[line % len(lines)], pick, new)
    if order:
        between = lines[1:-1]
        order.shuffle(between)
        lines[1:-1] = between
    with suppress(JournalError):
        asyncio.run(replayed(b"".join(lines)))
