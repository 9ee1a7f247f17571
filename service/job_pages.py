"""The routes on jobs, for the API's description."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import BaseModel

from service import job_replies as told
from service import reply_schemas as reply
from service.job_schemas import DEFAULT_PAGE, MOST_PAGE, JobRequest

Json = dict[str, Any]
Answer = Callable[[str, type[BaseModel]], Json]
Body = Callable[[type[BaseModel]], Json]

ERRORS: Final[Mapping[int, str]] = {
    400: "The request cannot be read.",
    403: "The tenant may not use the model or the strategy.",
    404: "There is no such job or model.",
    408: "The body did not arrive in time.",
    409: "The Idempotency-Key came with another request before.",
    413: "The body is too large.",
    422: "The request cannot be done; the message says why and the mend.",
    429: "Too many jobs wait, or too much is asked at once; Retry-After says when to try again.",
    503: "The store does not answer; Retry-After says when to try again.",
}
JOURNAL: Final = "The journal: JSON lines, which `aliquot replay` runs again."
EVENTS: Final = "Server-sent events, each with an `id`; the last tells the `status` in which the job ended."


def job_paths(answer: Answer, body: Body) -> Json:
    """The paths of these routes, made by what describes an answer and a body."""

    def does(summary: str, ok: Json, *errors: int, status: str = "200", **more: Any) -> Json:
        responses = {str(error): answer(ERRORS[error], reply.Error) for error in (*errors, 503)}
        return {"summary": summary, "responses": {status: ok, **responses}, **more}

    job = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    whole = answer("The job, and its result once it has one.", told.JobWithResult)
    journal = does(
        "What a job that has ended did, as a file to be run again.",
        _text(JOURNAL, "application/x-ndjson"),
        404,
    )
    journal["responses"]["409"] = answer("The job has not ended.", reply.Error)
    events = does(
        "What happens in a job, as it happens.",
        {"description": EVENTS, "content": {"text/event-stream": {}}},
        400,
        404,
        429,
    )
    events["responses"]["204"] = {"description": "The job has ended, and all its events were sent."}
    submit = does(
        "Run a request in the background.",
        answer("The job is kept, and will be run.", told.Job),
        *(400, 403, 404, 408, 409, 413, 422, 429),
        status="202",
        requestBody=body(JobRequest),
    )
    return {
        "/v1/jobs": {
            "get": does("Jobs, newest first.", answer("OK", told.Jobs), 400, 404, parameters=_PAGES),
            "post": submit,
        },
        "/v1/jobs/{id}": {
            "get": does("A job.", whole, 404, parameters=[job]),
            "delete": does(
                "End a job, its calls to the engine included; one that has ended stays as it is.",
                answer("The job, which has ended.", told.Job),
                404,
                parameters=[job],
            ),
        },
        "/v1/jobs/{id}/events": {"get": events | {"parameters": [job, _LAST]}},
        "/v1/jobs/{id}/journal": {"get": journal | {"parameters": [job]}},
    }


def _text(text: str, media_type: str) -> Json:
    return {"description": text, "content": {media_type: {"schema": {"type": "string"}}}}


_PAGES: Final[list[Json]] = [
    {
        "name": "after",
        "in": "query",
        "required": False,
        "description": "The id of the job behind which the page begins.",
        "schema": {"type": "string"},
    },
    {
        "name": "limit",
        "in": "query",
        "required": False,
        "schema": {"type": "integer", "minimum": 1, "maximum": MOST_PAGE, "default": DEFAULT_PAGE},
    },
]
_LAST: Final[Json] = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "The id of the last event that came: the stream goes on behind it.",
    "schema": {"type": "string", "pattern": "^[0-9]{1,19}-[0-9]{1,19}$"},
}
