"""The API's description. Bodies are read by `service.schemas`, so that errors have one shape; this tells of them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service import reply_schemas as reply
from service.schemas import ChatRequest, ScalingRequest

REF = "#/components/schemas/{model}"

ERRORS = {
    400: "The request cannot be read.",
    404: "There is no such model.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    422: "The request cannot be done; the message says why and the mend.",
    503: "The engine does not answer; Retry-After says when to try again.",
    504: "Time ran out before a first answer.",
}


def chat_docs() -> dict[str, Any]:
    return _run_docs(
        reply.ChatCompletion, "OpenAI's chat completion with `scaling`; chunks of it with `stream`."
    )


def scale_docs() -> dict[str, Any]:
    return _run_docs(reply.ScalingOutcome, "The whole outcome; one JSON event for each step with `stream`.")


def reply_docs(model: type[BaseModel], **others: Any) -> dict[str, Any]:
    """A route's keyword arguments: what it answers, and `others`, by status."""
    return {
        "responses": {200: {"description": "OK", "content": _json(model)}, **others},
        "response_model": None,
    }


def _run_docs(model: type[BaseModel], text: str) -> dict[str, Any]:
    content = {**_json(model), "text/event-stream": {"schema": {"type": "string"}}}
    errors = {status: {"description": says, "content": _json(reply.Error)} for status, says in ERRORS.items()}
    header = {
        "name": "X-Aliquot-Scaling",
        "in": "header",
        "required": False,
        "description": "`scaling` as JSON, for clients that cannot send a body field.",
        "content": {"application/json": {"schema": {"$ref": REF.format(model="ScalingRequest")}}},
    }
    body = {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": REF.format(model="ChatRequest")}}},
    }
    return {
        "responses": {200: {"description": text, "content": content}, **errors},
        "response_model": None,
        "openapi_extra": {"requestBody": body, "parameters": [header]},
    }


def _json(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": REF.format(model=model.__name__)}}}


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI description of `app`, with the schemas of the bodies that its routes name."""
    if app.openapi_schema is None:
        replies = [m for m in vars(reply).values() if isinstance(m, type) and issubclass(m, BaseModel)]
        models = [(m, "serialization") for m in replies if m is not BaseModel]
        requests = [(m, "validation") for m in (ChatRequest, ScalingRequest)]
        _, definitions = models_json_schema([*models, *requests], ref_template=REF)  # type: ignore[list-item]
        schema = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        names = [model.name for model in app.state.world.config.models]
        definitions["$defs"]["ChatRequest"]["properties"]["model"]["enum"] = names
        schema.setdefault("components", {}).setdefault("schemas", {}).update(definitions["$defs"])
        app.openapi_schema = schema
    return app.openapi_schema
