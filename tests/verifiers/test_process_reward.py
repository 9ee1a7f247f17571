import asyncio
import math
from statistics import fmean

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from engines.base import EngineGarbage, EngineRefused, EngineUnavailable, Sample
from engines.transport import Transport
from tests.stand_ins import StandInProcessReward, serving
from tests.verifiers.scoring import MESSAGES, response
from verifiers.base import Response, Step
from verifiers.process_reward import MOST_STEPS, ProcessReward, split_steps

HEAD = StandInProcessReward.head(MESSAGES)
AGGREGATES = {"last": lambda s: s[-1], "min": min, "mean": fmean, "prod": math.prod}


def path(*steps: str) -> Response:
    """A path so far, as a search asks about it."""
    text = "".join(steps)
    return Response(Sample(text, (), "stop"), text, None, tuple(Step(step, len(step)) for step in steps))


def goods(*steps: str, mark: bool = False) -> list[float]:
    """What the stand-in says of each step."""
    ids, scores = list(HEAD), []
    for step in steps:
        ids += [*map(ord, step.strip()), 0] if mark else map(ord, step)
        scores.append(StandInProcessReward.good(ids))
    return scores


@pytest.fixture
async def server():
    return StandInProcessReward()


@pytest.fixture
async def http(server):
    async with serving(server.app()) as url:
        transport = Transport(url)
        yield transport
        await transport.close()


def reward(http: Transport, **options) -> ProcessReward:
    return ProcessReward("prm", http, "m", **options)


async def test_a_depth_of_a_search_is_one_call_that_sends_what_is_new(server, http):
    prm = reward(http, aggregate="min")
    first = await prm.score(MESSAGES, [path("a\n\n"), path("b\n\n")])
    second = await prm.score(MESSAGES, [path("a\n\n", "c"), path("a\n\n", "d"), path("a\n\n", "c")])
    assert first.scores == (*goods("a\n\n"), *goods("b\n\n"))
    assert second.scores == (min(goods("a\n\n", "c")), min(goods("a\n\n", "d")), min(goods("a\n\n", "c")))
    assert [len(body["input"]) for body in server.asked("/pooling")] == [2, 2]
    assert second.read == 2 * (len(HEAD) + 4)
    assert len(server.asked("/tokenize")) == 1 + 4  # the conversation, and each step's text
    assert first.warnings == second.warnings == ()
    again = await prm.score(MESSAGES, [path("b\n\n"), path("a\n\n", "d")])
    assert (again.scores, again.read) == ((first.scores[1], second.scores[1]), 0)
    assert len(server.requests) == 1 + 4 + 2


@pytest.mark.parametrize("aggregate", AGGREGATES)
@pytest.mark.parametrize("rows", ["token", "step", "text"])
@pytest.mark.parametrize("drawn", ["in steps", "whole"])
async def test_the_token_form_gives_one_score_however_the_server_answers(
    server, http, aggregate, rows, drawn
):
    server.rows = rows
    steps = ("one\n\n", "two\n\n", "three")
    asked = path(*steps) if drawn == "in steps" else response("".join(steps))
    verdict = await reward(http, aggregate=aggregate, step_token="<+>").score(MESSAGES, [asked])
    assert verdict.scores == (pytest.approx(AGGREGATES[aggregate](goods(*steps, mark=True))),)
    more = rows == "text" and aggregate != "last"
    assert len(server.asked("/pooling")) == (2 if more else 1)


@pytest.mark.parametrize("aggregate", AGGREGATES)
@pytest.mark.parametrize("rows", ["token", "text"])
@pytest.mark.parametrize("separator", [None, "\n\n"])
async def test_separator_and_last_token_agree_on_a_model_that_reads_forwards(
    server, http, aggregate, rows, separator
):
    server.rows = rows
    prm = reward(http, aggregate=aggregate, separator=separator)
    steps = ("one\n\n", "two\n\n", "three")
    verdict = await prm.score(MESSAGES, [response("".join(steps)), path(*steps[:2])])
    expected = [AGGREGATES[aggregate](goods(*steps)), AGGREGATES[aggregate](goods(*steps[:2]))]
    assert verdict.scores == pytest.approx(expected)


async def test_one_pass_scores_every_step_of_a_whole_response(server, http):
    await reward(http, aggregate="mean", separator="\n").score(MESSAGES, [response("a\nb\nc")])
    await reward(http, aggregate="mean").score(MESSAGES, [response("a\n\nb\n\nc")])
    assert [len(body["input"]) for body in server.asked("/pooling")] == [1, 3]


async def test_a_token_spelled_in_the_conversation_is_not_a_step(server, http):
    server.rows = "step"
    spelled = [{"role": "user", "content": "What does <+> mean?"}]
    verdict = await reward(http, step_token="<+>", aggregate="min").score(spelled, [path("a", "b")])
    ids = server.head(spelled)
    expected = min(server.good([*ids, ord("a"), 0]), server.good([*ids, ord("a"), 0, ord("b"), 0]))
    assert verdict.scores == (expected,)


async def test_paths_that_are_too_long_are_not_sent_and_lose_no_other(server, http):
    server.most = len(HEAD) + 5
    prm = reward(http)
    verdict = await prm.score(MESSAGES, [path("short"), path("longer")])
    assert verdict.scores == (goods("short")[0], None)
    assert verdict.warnings == (
        "prm scored 1 of 2 responses.",
        f"prm reads {server.most} tokens, and some responses are longer.",
    )
    assert len(server.asked("/pooling")) == 1
    assert (await prm.score(MESSAGES, [path("longer")])).scores == (None,)


async def test_a_refused_path_loses_no_other(server, http):
    async def refuse_bad(inputs):
        refused = any(ids[-1] == ord("!") for ids in inputs)
        return web.json_response({"error": {"message": "no"}}, status=400) if refused else None

    server.fault = refuse_bad
    verdict = await reward(http).score(MESSAGES, [path("a"), path("b!"), path("c")])
    assert verdict.scores == (*goods("a"), None, *goods("c"))
    assert verdict.warnings == ("prm scored 2 of 3 responses.",)
    with pytest.raises(EngineRefused):
        await reward(http).score(MESSAGES, [path("b!"), path("d!")])


async def test_a_server_that_fails_is_an_error_and_may_answer_later(server, http):
    async def fail(inputs):
        return web.Response(status=500)

    prm = reward(http)
    server.fault = fail
    with pytest.raises(EngineUnavailable):
        await prm.score(MESSAGES, [path("a")])
    server.fault = None
    assert (await prm.score(MESSAGES, [path("a")])).scores == tuple(goods("a"))


async def test_scores_that_are_late_are_none_and_those_that_were_known_stay(server, http):
    async def hang(inputs):
        await asyncio.Event().wait()

    prm = reward(http)
    await prm.score(MESSAGES, [path("a")])
    server.fault = hang
    verdict = await prm.score(MESSAGES, [path("a"), path("b")], seconds=0.05)
    assert verdict.scores == (*goods("a"), None)
    assert verdict.warnings == ("prm scored 1 of 2 responses in time.",)


async def test_a_server_that_is_not_there_is_unavailable():
    http = Transport("http://127.0.0.1:9")
    with pytest.raises(EngineUnavailable):
        await reward(http).score(MESSAGES, [path("a")])
    await http.close()


async def test_no_responses_need_no_server():
    assert (await reward(Transport("http://127.0.0.1:9")).score(MESSAGES, [])).scores == ()


def answering(data):
    async def answer(inputs):
        return web.json_response({"data": data, "usage": {"prompt_tokens": 7}})

    return answer


@pytest.mark.parametrize(
    ("row", "label", "score"),
    [([0.3], None, 0.3), ([0.3], 0, 0.3), ([0.3, 0.7], None, 0.7), ([0.3, 0.7], 0, 0.3), ([1, 2, 3], 2, 3.0)],
)
async def test_the_good_class_is_the_second_of_two_the_only_one_or_the_one_that_is_named(
    server, http, row, label, score
):
    server.fault = answering([{"data": row}])
    verdict = await reward(http, positive_label=label).score(MESSAGES, [path("a")])
    assert (verdict.scores, verdict.read) == ((score,), 7)


@pytest.mark.parametrize(("row", "label"), [([1, 2, 3], None), ([0.3], 1), ([0.3, 0.7], 2)])
async def test_a_class_that_is_not_there_is_told_with_the_mend(server, http, row, label):
    server.fault = answering([{"data": row}])
    with pytest.raises(EngineGarbage, match=rf"gives {len(row)} numbers a step. Configure positive_label"):
        await reward(http, positive_label=label).score(MESSAGES, [path("a")])


@pytest.mark.parametrize("data", [[], [{"data": [1]}, {"data": [1]}], [{"data": "AAAA"}], [{}], 3])
async def test_garbage_is_told_as_such(server, http, data):
    server.fault = answering(data)
    with pytest.raises(EngineGarbage):
        await reward(http).score(MESSAGES, [path("a")])


@pytest.mark.parametrize("form", [{}, {"separator": "\n\n"}, {"step_token": "<+>"}])
async def test_rows_that_fit_nothing_are_told_with_the_mend(server, http, form):
    server.fault = answering([{"data": [[0.1, 0.9]] * 5}])
    with pytest.raises(EngineGarbage, match=r"gave 5 rows .* and 1 steps.* Configure step_token"):
        await reward(http, **form).score(MESSAGES, [path("a")])


async def test_a_number_that_is_none_is_no_score(server, http):
    server.fault = answering([{"data": [0.5, None]}])
    prm = reward(http, aggregate="mean")
    verdict = await prm.score(MESSAGES, [path("a")])
    assert (verdict.scores, verdict.warnings) == ((None,), ("prm scored 0 of 1 responses.",))
    server.fault = None
    assert (await prm.score(MESSAGES, [path("a", "b")])).scores == (None,)


async def test_numbers_outside_0_and_1_stay_as_they_are_but_cannot_be_multiplied(server, http):
    server.fault = answering([{"data": [-2.5]}])
    for aggregate in ("last", "min", "mean"):
        assert (await reward(http, aggregate=aggregate).score(MESSAGES, [path("a")])).scores == (-2.5,)
    with pytest.raises(EngineGarbage, match="prod cannot multiply"):
        await reward(http, aggregate="prod").score(MESSAGES, [path("a")])


@pytest.mark.parametrize(
    ("text", "separator", "steps"),
    [
        ("a\n\nb\n\nc", "\n\n", ["a\n\n", "b\n\n", "c"]),
        ("a\n\n\n\nb", "\n\n", ["a\n\n\n\n", "b"]),
        ("\n\na\n\n  b\n", "\n\n", ["\n\na\n\n", "  b"]),
        ("a\nb", "\n\n", ["a\nb"]),
        ("a\nb", "\n", ["a\n", "b"]),
        ("x.*y", ".*", ["x.*", "y"]),
        ("", "\n\n", [""]),
        (" \n\n ", "\n\n", [" \n\n "]),
    ],
)
def test_a_whole_response_is_split_after_each_separator(text, separator, steps):
    assert split_steps(text, separator) == steps


@given(st.text("ab \n", max_size=200), st.sampled_from(["\n", "\n\n", "b"]))
def test_splitting_loses_nothing_but_blank_space_at_the_end(text, separator):
    steps = split_steps(text, separator)
    assert "".join(steps).rstrip() == text.rstrip()
    assert text.isspace() or not text or all(step.strip() for step in steps)


def test_the_last_of_very_many_steps_takes_the_rest():
    steps = split_steps("a\n\n" * 10_000, "\n\n")
    assert len(steps) == MOST_STEPS
    assert "".join(steps) == ("a\n\n" * 10_000).rstrip()
