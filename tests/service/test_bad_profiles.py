"""Each bad body for POST /v1/profiles and /v1/feedback is told its field and the mend."""

import json

import pytest

from service.profile_schemas import MOST_IN_ALL, profile_example
from service.reply_schemas import Error
from tests.stand_ins import MODEL

GOOD = profile_example(MODEL)
SAMPLE = GOOD["problems"][0][0]


def first(**fields):
    """The good body, its first sample changed."""
    return {"problems": [[SAMPLE | fields], *GOOD["problems"][1:]]}


def many(problems: int, samples: int) -> list:
    return [[{"right": True, "tokens": 1}] * samples] * problems


PROFILES = {
    "an unknown model": ({"model": "gpt-9"}, 404, "model", "There are stand-in"),
    "no model": ({"model": None}, 400, "model", "valid string"),
    "a task without a name": ({"task": ""}, 400, "task", "at least 1"),
    "a long task": ({"task": "x" * 129}, 400, "task", "at most 128"),
    "a task that is none": ({"task": 7}, 400, "task", "valid string"),
    "no verifier's name": ({"verifier": ""}, 400, "verifier", "at least 1"),
    "no length": ({"max_tokens": 0}, 400, "max_tokens", "equal to 1"),
    "no problems": ({"problems": []}, 400, "problems", "at least 1"),
    "a problem without samples": ({"problems": [[SAMPLE], []]}, 400, "problems.1", "at least 1"),
    "problems as text": ({"problems": "all right"}, 400, "problems", "valid array"),
    "a sample as text": ({"problems": [["right"]]}, 400, "problems.0.0", "object"),
    "no verdict": ({"problems": [[{"tokens": 1}]]}, 400, "problems.0.0.right", "Add it"),
    "a verdict as a number": (first(right=1), 400, "problems.0.0.right", "valid boolean"),
    "negative tokens": (first(tokens=-1), 400, "problems.0.0.tokens", "equal to 0"),
    "half a token": (first(tokens=1.5), 400, "problems.0.0.tokens", "integer"),
    "absurd tokens": (first(tokens=10**30), 400, "problems.0.0.tokens", "less than"),
    "an endless answer": (first(answer="x" * 10_001), 400, "problems.0.0.answer", "at most 10000"),
    "an absurd score": (first(score=1e300), 400, "problems.0.0.score", "less than"),
    "an unknown field": (first(reward=1), 400, "problems.0.0.reward", "Leave it out"),
    "an unknown field of the body": ({"samples": 3}, 400, "samples", "Leave it out"),
    "scores of nobody": ({"verifier": None}, 400, "problems.0.0.score", "Name it in verifier"),
    "too many samples of a problem": ({"problems": many(1, 1_001)}, 400, "problems.0", "at most 1000"),
    "too many problems": ({"problems": many(10_001, 1)}, 400, "problems", "at most 10000"),
    "too many samples": ({"problems": many(21, 1_000)}, 400, "problems", f"at most {MOST_IN_ALL}"),
    "a verifier without scores": ({"problems": many(3, 3)}, 422, "problems", "leave the verifier out"),
    "too few that finished": (
        {"verifier": None, "problems": [[{"right": False, "tokens": 9, "finished": False}] * 4]},
        422,
        "problems",
        "two finished responses",
    ),
    "a verifier that there is not": ({"verifier": "rm"}, 422, "verifier", "There are self_certainty"),
    "more tokens than there may be": (first(tokens=513), 400, "problems.0.0.tokens", "max_tokens 512"),
    "one answer, right and wrong": (
        {"problems": [[SAMPLE, SAMPLE | {"right": False}], *GOOD["problems"][1:]]},
        400,
        "problems.0.1.right",
        "alike",
    ),
    "NUL": ({"task": "a\x00"}, 400, "task", "NUL"),
    "NUL in an answer": (first(answer="\x00"), 400, "problems.0.0.answer", "NUL"),
}
FEEDBACK = {
    "no id": ({"id": None}, 400, "id", "valid string"),
    "an empty id": ({"id": ""}, 400, "id", "at least 1"),
    "a long id": ({"id": "x" * 129}, 400, "id", "at most 128"),
    "an id as a list": ({"id": ["a"]}, 400, "id", "valid string"),
    "a verdict as text": ({"correct": "yes"}, 400, "correct", "valid boolean"),
    "a verdict as a number": ({"correct": 1}, 400, "correct", "valid boolean"),
    "a task without a name": ({"task": ""}, 400, "task", "at least 1"),
    "an unknown field": ({"score": 0.5}, 400, "score", "Leave it out"),
    "NUL": ({"id": "a\x00"}, 400, "id", "NUL"),
    "an unknown response": ({}, 404, "id", "There is no response"),
}
CASES = [("/v1/profiles", GOOD | body, *rest) for body, *rest in PROFILES.values()]
CASES += [("/v1/feedback", {"id": "a", "correct": True} | body, *rest) for body, *rest in FEEDBACK.values()]


@pytest.mark.parametrize(("path", "body", "status", "param", "says"), CASES, ids=[*PROFILES, *FEEDBACK])
async def test_a_bad_body_is_told_its_field_and_the_mend(served, path, body, status, param, says):
    response = await served.client.post(path, json=body)
    assert response.status_code == status, response.text
    error = Error.model_validate(response.json()).error
    assert error.param == param
    assert says in error.message
    assert len(error.message) < 500
    assert (await served.client.get("/v1/profiles")).json()["data"] == []


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", '"0.5"', "true"])
@pytest.mark.parametrize("field", ["score", "tokens"])
async def test_what_is_no_number_is_refused(served, field, number):
    content = json.dumps(GOOD | first(**{field: 123456789})).replace("123456789", number)
    response = await served.client.post("/v1/profiles", content=content)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == f"problems.0.0.{field}"


@pytest.mark.parametrize("path", ["/v1/profiles", "/v1/feedback"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'"a"', b"[" * 100_000, b'{"id": "\\ud800"}'])
async def test_what_is_no_body_is_refused(served, path, content):
    response = await served.client.post(path, content=content)
    assert response.status_code == 400
    Error.model_validate(response.json())


async def test_a_task_of_any_name_is_taken(served):
    for task in ("*", "a:b", "../..", "日本 \n", "{a}"):
        assert (await served.client.post("/v1/profiles", json=GOOD | {"task": task})).json()["task"] == task
    assert len((await served.client.get("/v1/profiles")).json()["data"]) == 5


@pytest.mark.parametrize("task", ["", "x" * 129, 7])
async def test_a_run_refuses_the_same_tasks(served, task):
    response = await served.chat(scaling={"task": task})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "scaling.task"
