"""The routes on batches and their files, for the API's description."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pydantic import BaseModel

from service import batch_schemas as told
from service import reply_schemas as reply
from service.batch_requests import BatchFileRequest

Json = dict[str, Any]
Answer = Callable[[str, type[BaseModel]], Json]
Body = Callable[[type[BaseModel]], Json]

JSONL: Final = "application/jsonl"
LINES: Final = (
    'A request on each line: {"custom_id": "…", "method": "POST", "url": "/v1/chat/completions", "body": {…}}'
)
READ: Final = {
    "408": "The body did not arrive in time.",
    "409": "The Idempotency-Key came with another request before.",
    "413": "The body is too large.",
}
TAKEN: Final = {**READ, "429": "There are too many already, or too many at once; see Retry-After."}
NO_BATCH: Final = {"404": "There is no such batch."}
NO_FILE: Final = {"404": "There is no such file."}
NO_STORE: Final = {"503": "The store does not answer; Retry-After says when to try again."}
ID: Final = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
HOOK: Final = {"name": "X-Aliquot-Webhook", "in": "header", "required": False, "schema": {"type": "string"}}
PAGES: Final = [
    {"name": "after", "in": "query", "required": False, "schema": {"type": "string"}},
    {
        "name": "limit",
        "in": "query",
        "required": False,
        "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
    },
]
UPLOAD: Final = {
    "type": "object",
    "properties": {
        "file": {"type": "string", "format": "binary", "description": LINES},
        "purpose": {"type": "string", "enum": ["batch"]},
    },
    "required": ["file", "purpose"],
    "additionalProperties": False,
}


def batch_paths(answer: Answer, body: Body) -> Json:
    """The paths of the routes on batches, of what describes an answer and a body."""
    pages = _operation(
        answer, "Batches, newest first.", told.BatchList, {"400": "A page cannot be so long.", **NO_BATCH}
    )
    gone = "The webhook's host is not one that the service may call."
    create = _operation(
        answer, "Run many requests in the background.", told.Batch, {**TAKEN, **NO_FILE, "422": gone}
    )
    create["responses"]["400"] = answer("Lines cannot be run; each is named.", told.BatchRefused)
    lines = {"schema": {"type": "string", "format": "binary", "description": LINES}}
    content = {"application/octet-stream": lines, **body(BatchFileRequest)["content"]}
    taken = {"parameters": [HOOK], "requestBody": {"required": True, "content": content}}
    results = _operation(
        answer,
        "The results, in the order of the requests.",
        None,
        {**NO_BATCH, "409": "The batch has not ended."},
    )
    no_key = {"400": "The Idempotency-Key cannot be used."}
    cancel = _operation(
        answer, "End a batch; what has been answered is kept.", told.Batch, {**READ, **NO_BATCH, **no_key}
    )
    one = _operation(answer, "A batch, and how far it is.", told.Batch, NO_BATCH)
    return {
        "/v1/batches": {"get": pages | {"parameters": PAGES}, "post": create | taken},
        "/v1/batches/{id}": {"get": one | {"parameters": [ID]}},
        "/v1/batches/{id}/results": {"get": results | {"parameters": [ID]}},
        "/v1/batches/{id}/cancel": {"post": cancel | {"parameters": [ID]}},
    }


def file_paths(answer: Answer) -> Json:
    """The paths of the routes on files, likewise."""
    form = {"required": True, "content": {"multipart/form-data": {"schema": UPLOAD}}}
    create = _operation(
        answer, "Keep a file for a batch.", told.File, {**TAKEN, "400": "The form cannot be read."}
    )
    one = _operation(answer, "A file.", told.File, NO_FILE)
    delete = _operation(answer, "Delete a file.", told.FileDeleted, NO_FILE)
    content = _operation(answer, "What is in a file, or came of a batch.", None, NO_FILE)
    return {
        "/v1/files": {
            "get": _operation(answer, "Files, newest first.", told.FileList, {}),
            "post": create | {"requestBody": form},
        },
        "/v1/files/{id}": {"get": one | {"parameters": [ID]}, "delete": delete | {"parameters": [ID]}},
        "/v1/files/{id}/content": {"get": content | {"parameters": [ID]}},
    }


def _operation(answer: Answer, summary: str, model: type[BaseModel] | None, errors: Json) -> Json:
    """What a route answers: `model`, or with None lines."""
    media = {kind: {"schema": {"type": "string"}} for kind in (JSONL, "application/octet-stream")}
    good = answer("OK", model) if model else {"description": "The lines.", "content": media}
    others = {status: answer(text, reply.Error) for status, text in (errors | NO_STORE).items()}
    return {"summary": summary, "responses": {"200": good, **others}}
