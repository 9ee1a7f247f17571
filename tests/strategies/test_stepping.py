"""What every stepwise search keeps, one parametrised test each; beside what test_contract.py asks of all strategies."""

import pytest

from budgets.budget import Budget
from engines.base import EngineError, EngineUnavailable, Sample
from engines.scripted import ScriptedEngine
from strategies.registry import build
from tests.strategies.bench import TableVerifier, run
from tests.strategies.worlds import PROMPT, branching, events

STEPWISE = [
    ("particle_filtering", {"resample": "systematic"}),
    ("particle_filtering", {"resample": "residual", "iterations": 2}),
    ("rebase", {}),
    ("beam_search", {"keep": 2}),
    ("diverse_verifier_tree_search", {"branches": 2}),
    ("efficient_tree_search", {}),
]
every_stepwise = pytest.mark.parametrize(("name", "params"), STEPWISE, ids=[f"{n} {p}" for n, p in STEPWISE])


def three_steps(path: str) -> list[str]:
    """Paths of three steps: each step is good (g) or bad (b) in turn, the last says which were."""
    depth = path.count("\n\n")
    if depth < 2:
        return ["g\n\n", "b\n\n"]
    return ["".join(step[-1] for step in path.split("\n\n") if step) + end for end in "gb"]


def goodness(text: str) -> float:
    """How much of a path so far is good."""
    letters = text.replace("\n\n", "")[: text.count("\n\n")] or text
    return (1 + letters.count("g")) / (2 + len(letters))


def guide() -> TableVerifier:
    return TableVerifier(goodness)


@every_stepwise
async def test_one_engine_call_and_one_verifier_call_for_every_depth(name, params):
    verifier = guide()
    ran = await run(build(name, params), branching(three_steps), Budget(8), verifier=verifier, seed=1)
    filters = params.get("iterations", 1)
    assert len(ran.engine.calls) == 3 * filters
    assert len(verifier.asked) <= 3 * filters
    assert ran.outcome.stopped_because == "completed"


@every_stepwise
async def test_a_step_continues_exactly_the_tokens_that_were_generated(name, params):
    ran = await run(build(name, params), branching(three_steps), Budget(8), verifier=guide(), seed=1)
    known = {tuple(map(ord, PROMPT))}
    for call in ran.engine.calls:
        assert set(call.prompts) <= known
        for prefix in call.prompts:
            known |= {prefix + tuple(map(ord, step)) for step in three_steps("".join(map(chr, prefix[3:])))}
    assert all(
        c.response.sample.text == "".join(s.text for s in c.response.steps) for c in ran.outcome.candidates
    )
    assert all(
        c.response.sample.tokens == tuple(map(ord, c.response.sample.text)) for c in ran.outcome.candidates
    )


@every_stepwise
async def test_bad_steps_die_out(name, params):
    ran = await run(
        build(name, params), branching(three_steps), Budget(16), verifier=TableVerifier(harsh), seed=4
    )
    assert ran.texts[0].endswith("ggg")


def harsh(text: str) -> float:
    return 0.001 if "b" in text else 0.99


@every_stepwise
async def test_the_trace_tells_every_node_what_was_kept_and_what_was_chosen(name, params):
    ran = await run(build(name, params), branching(three_steps), Budget(8), verifier=guide(), seed=1)
    nodes = {node["node"]: node for event in events(ran, "steps") for node in event["nodes"]}
    assert sorted(nodes) == list(range(1, len(nodes) + 1))
    assert all(node["parent"] == 0 or node["parent"] in nodes for node in nodes.values())
    (chosen,) = events(ran, "chosen")
    assert nodes[chosen["node"]]["finished"]
    assert chosen["answer"] == ran.best
    for event in events(ran, "select"):
        assert all(count > 0 and kept in nodes for kept, count in event["kept"])
    depth, kv = ran.outcome.estimates["depth"], ran.outcome.estimates["kv_tokens"]
    assert len(kv["grown"]) == len(kv["kept"]) == depth == len(events(ran, "steps"))
    assert list(kv["grown"]) == [event["kv_tokens"] for event in events(ran, "steps")]


@every_stepwise
async def test_what_the_budget_cuts_is_an_answer_as_far_as_it_came(name, params):
    script = branching(lambda path: ["12345678\n\n"])
    ran = await run(build(name, params), script, Budget(2, 50), verifier=TableVerifier(lambda _: 0.5))
    assert ran.outcome.stopped_because == "budget_tokens"
    assert ran.ledger.spent.tokens <= 50
    assert ran.outcome.candidates[0].response.sample.finish_reason == "length"
    assert ran.texts[0].startswith("12345678\n\n12345678")


@every_stepwise
async def test_a_finished_response_comes_before_one_that_was_cut_whatever_their_scores(name, params):
    def follow(path: str) -> list[str]:
        return ["long step\n\n", "end"] if not path else ["long step\n\n"]

    verifier = TableVerifier(lambda text: 0.1 if text == "end" else 0.6)
    ran = await run(build(name, params), branching(follow), Budget(4, 80), verifier=verifier, seed=3)
    assert ran.outcome.stopped_because == "budget_tokens"
    assert ran.texts[0] == "end"


@every_stepwise
async def test_a_response_ends_where_its_own_length_does(name, params):
    script = branching(lambda path: ["12345678\n\n"])
    ran = await run(
        build(name, params), script, Budget(2), verifier=TableVerifier(lambda _: 0.5), max_tokens=30
    )
    assert all(len(c.response.sample.tokens) <= 30 for c in ran.outcome.candidates)
    assert ran.outcome.stopped_because == "completed"


@every_stepwise
async def test_a_step_is_cut_at_its_most_tokens_and_goes_on(name, params):
    def follow(path: str) -> list[str]:
        return ["abcdefghij"[len(path) :]]

    ran = await run(
        build(name, {**params, "step_tokens": 4}), branching(follow), Budget(2), verifier=guide(), seed=1
    )
    assert ran.texts[0] == "abcdefghij"
    assert [step.text for step in ran.outcome.candidates[0].response.steps] == ["abcd", "efgh", "ij"]


@every_stepwise
async def test_a_stop_string_of_the_request_ends_the_response_not_the_step(name, params):
    script = branching(lambda path: ["one\n\n"] if not path else ["two END three"])
    ran = await run(build(name, params), script, Budget(2), verifier=guide(), stop=("END",))
    assert ran.texts[0] == "one\n\ntwo "
    assert ran.outcome.candidates[0].response.sample.finish_reason == "stop"


@every_stepwise
@pytest.mark.parametrize(
    "constrained",
    [{"sampling": {"structured_outputs": {"json": {}}}}, {"stop": ("\n\n",)}],
    ids=["grammar", "stop"],
)
async def test_a_response_that_is_constrained_as_a_whole_is_drawn_whole_and_says_so(
    name, params, constrained
):
    script = ScriptedEngine(['{"a": 1}'] * 40)
    ran = await run(build(name, params), script, Budget(4), verifier=guide(), **constrained)
    assert ran.texts[0] == '{"a": 1}'
    assert all("\n\n" not in call.stop or call.stop == ("\n\n",) for call in ran.engine.calls)
    assert any("drawn whole" in warning for warning in ran.search.warnings)


@every_stepwise
async def test_a_step_that_fails_costs_one_path_alone(name, params):
    def follow(path: str):
        return ["g\n\n", EngineError("lost"), "b\n\n"] if not path else ["end"]

    ran = await run(build(name, params), branching(follow), Budget(6), verifier=guide(), seed=1)
    assert ran.texts[0].endswith("end")
    assert any("failed" in warning for warning in ran.search.warnings)


@every_stepwise
async def test_an_engine_that_dies_between_two_steps_leaves_what_was_in_hand(name, params):
    def follow(path: str):
        if not path:
            return ["g\n\n", "end"]
        return [EngineUnavailable("The engine cannot be reached.")]

    ran = await run(build(name, params), branching(follow), Budget(4), verifier=guide(), seed=2)
    assert ran.outcome.stopped_because == "engine_failed"
    assert ran.outcome.candidates


@every_stepwise
async def test_paths_with_log_probabilities_have_their_sum(name, params):
    def follow(path: str):
        text = "one\n\n" if not path else "two"
        return [Sample(text, tuple(map(ord, text)), "stop", -2.0)]

    verifier = guide()
    verifier.needs_logprobs = True
    ran = await run(build(name, params), branching(follow), Budget(2), verifier=verifier)
    assert ran.outcome.candidates[0].response.sample.logprob == -4.0


@every_stepwise
async def test_where_tokens_run_out_the_best_paths_go_on_and_no_path_is_lost(name, params):
    def follow(path: str) -> list[str]:
        return ["bad one\n\n", "GOOD on\n\n", "bad two\n\n", "bad six\n\n"] if not path else ["goes on\n\n"]

    verifier = TableVerifier(lambda text: 0.60 if text.startswith("GOOD") else 0.59)
    params = params | ({"ess_threshold": 0.0, "iterations": 1} if name == "particle_filtering" else {})
    params |= {"keep": 4} if name == "beam_search" else {}
    ran = await run(build(name, params), branching(follow), Budget(4, 64), verifier=verifier, seed=1)
    assert ran.outcome.stopped_because == "budget_tokens"
    assert ran.texts[0].startswith("GOOD on\n\n")
    if name == "particle_filtering":
        assert {text[:7] for text in ran.texts} == {"bad one", "GOOD on", "bad two", "bad six"}


@every_stepwise
async def test_a_token_that_runs_past_the_separator_keeps_its_text(name, params):
    def follow(path: str):
        step = Sample("def f():", (1, 2), "stop", -1.0, (), "\n\n", "\n\n    ")
        return [step] if not path else [Sample("return 1", (3,), "stop", -1.0)]

    class Exact(ScriptedEngine):
        @staticmethod
        def _cut(reply, call):
            return reply

        def _next(self, prompt):
            return follow("".join(map(str, prompt[3:])))[0]

    ran = await run(build(name, params), Exact([]), Budget(2), verifier=guide())
    assert ran.texts[0] == "def f():\n\n    return 1"
    assert all(call.logprobs == 0 for call in ran.engine.calls)


@every_stepwise
@pytest.mark.parametrize(("stop", "said"), [("\n\nQ:", "It is 15."), ("5.\n", "It is 1"), ("is 1", "It ")])
async def test_a_stop_string_that_a_step_cuts_in_two_ends_the_response_all_the_same(name, params, stop, said):
    def follow(path: str) -> list[str]:
        return ["It is 15.\n\n"] if not path else ["Q: And 9 + 9?\n\n"]

    ran = await run(build(name, params), branching(follow), Budget(2), verifier=guide(), stop=(stop,))
    assert ran.texts[0] == said
    assert ran.outcome.candidates[0].response.sample.finish_reason == "stop"


@every_stepwise
async def test_a_single_response_is_drawn_whole_since_there_is_nothing_to_choose(name, params):
    script = ScriptedEngine(["one\n\ntwo\n\nthree"])
    ran = await run(build(name, params), script, Budget(1), verifier=guide())
    assert ran.texts == ["one\n\ntwo\n\nthree"]
    assert len(ran.engine.calls) == 1
    assert ran.search.warnings == []


@every_stepwise
async def test_a_reward_that_fails_once_kills_no_path(name, params):
    def follow(path: str) -> list[str]:
        if not path:
            return ["wrong", "good\n\n"]
        return ["on\n\n"] if path.count("\n\n") == 1 else ["right"]

    verifier = guide()
    answer = verifier.score

    async def fails_once(messages, responses, *, seconds=None):
        if any(r.content.endswith("on\n\n") for r in responses):
            raise EngineUnavailable("The engine answered 503.")
        return await answer(messages, responses, seconds=seconds)

    verifier.scores = lambda text: 0.05 if text == "wrong" else 0.9
    verifier.score = fails_once
    ran = await run(build(name, params), branching(follow), Budget(8), verifier=verifier, seed=1)
    assert ran.texts[0].endswith("right")


@every_stepwise
async def test_an_engine_that_generates_nothing_ends_the_search(name, params):
    class Empty(ScriptedEngine):
        @staticmethod
        def _cut(reply, call):
            return Sample("", (), "stop", stopped_at="\n\n")

    ran = await run(build(name, params), Empty(["x"] * 100), Budget(3), verifier=guide())
    assert len(ran.engine.calls) <= 4
    assert ran.outcome.stopped_because == "completed"


@every_stepwise
async def test_a_verifier_is_given_the_answers_of_finished_responses(name, params):
    seen = {}

    class Reads(TableVerifier):
        async def score(self, messages, responses, *, seconds=None):
            seen.update({r.content: r.answer for r in responses})
            return await super().score(messages, responses, seconds=seconds)

    script = branching(lambda path: ["so\n\n"] if not path else ["15"])
    await run(build(name, params), script, Budget(2), verifier=Reads(lambda _: 0.5), format="number")
    assert seen == {"so\n\n": None, "so\n\n15": "15"}


@every_stepwise
async def test_a_path_short_of_room_does_not_shorten_the_steps_of_others(name, params):
    def follow(path: str) -> list[str]:
        if not path:
            return ["x" * 40 + "\n\n", "short\n\n"]
        return ["y" * 30 + "\n\n"]

    ran = await run(
        build(name, params | {"step_tokens": 45}),
        branching(follow),
        Budget(2),
        verifier=TableVerifier(lambda _: 0.5),
        max_tokens=60,
    )
    whole = [c.text for c in ran.outcome.candidates if c.text.startswith("short")]
    assert whole or name == "diverse_verifier_tree_search"  # which goes on with the other path alone
    assert all(text.startswith("short\n\n" + "y" * 30 + "\n\n") for text in whole)
    assert all(len(c.response.sample.tokens) <= 60 for c in ran.outcome.candidates)
