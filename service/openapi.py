"""The API's description, and a page that shows it. Bodies are read by `service.schemas`; this tells of them."""

from __future__ import annotations

from functools import cached_property
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from budgets.hardware import HARDWARE
from service import batch_schemas, budget_replies, job_replies, profile_replies, tenant_replies
from service import reply_schemas as reply
from service.api_page import page
from service.batch_pages import batch_paths, file_paths
from service.batch_requests import BatchFileRequest
from service.budget_schemas import CostRequest, cost_example
from service.job_pages import job_paths
from service.job_schemas import JobRequest, job_example
from service.profile_schemas import FeedbackRequest, ProfileRequest, profile_example
from service.recommend_schemas import RecommendRequest, recommend_example
from service.replies import encode
from service.schemas import ChatRequest, ScalingRequest
from service.settings import WorldConfig
from service.tenant_pages import SECURITY, keyed, tenant_paths
from service.tenant_schemas import KeyRequest, TenantRequest, tenant_example
from service.verifying import BUILT_IN
from strategies.registry import registry

Json = dict[str, Any]
DESCRIPTION = (
    "A prompt and a compute budget in, the best answer that the budget buys out. A POST under /v1 that carries an "
    "`Idempotency-Key` runs once, however often it is sent."
)
RUN_ERRORS = {
    400: "The request cannot be read.",
    403: "The tenant may not use the model or the strategy.",
    404: "There is no such model.",
    408: "The body did not arrive in time.",
    409: "The Idempotency-Key came with another request before.",
    413: "The body is too large.",
    422: "The request cannot be done; the message says why and the mend.",
    429: "A limit of the tenant's, or of the service, leaves no room now; Retry-After says when to try again.",
    503: "The engine does not answer, or too much is asked at once; Retry-After says when to try again.",
    504: "Time ran out before a first answer.",
}


class Pages:
    """The description of one service and the page that shows it, each encoded once."""

    def __init__(self, config: WorldConfig) -> None:
        self._config = config

    @cached_property
    def _description(self) -> Json:
        return describe(self._config)

    @cached_property
    def openapi(self) -> bytes:
        return encode(self._description)

    @cached_property
    def docs(self) -> bytes:
        return page(self._description)


def describe(config: WorldConfig) -> Json:
    """The OpenAPI 3.1 description of a service with this configuration."""
    chat = "OpenAI's chat completion with `scaling`; chunks of it with `stream`."
    scale = "The whole outcome: every candidate and the trace; one JSON event for each step with `stream`."
    not_ready = {
        "503": _answer("An engine or the store does not answer, or the service ends.", reply.Readiness)
    }
    paths = {
        "/v1/chat/completions": {
            "post": _run("Answer a conversation by spending a budget.", chat, reply.ChatCompletion)
        },
        "/v1/scale": {"post": _run("The same, in the native form.", scale, reply.ScalingOutcome)},
        "/v1/budget/cost": {"post": _cost()},
        "/v1/budget/recommend": {"post": _recommend()},
        "/v1/profiles": _profiles(),
        "/v1/feedback": {"post": _feedback()},
        **job_paths(_answer, _body),
        **batch_paths(_answer, _body),
        **file_paths(_answer),
        **tenant_paths(_answer, _body),
        "/v1/models": _get("The configured models, and whether each one's engine answers.", reply.Models),
        "/v1/models/{id}": _one_model(),
        "/v1/strategies": _get(
            "The strategies, each with the JSON schema of its `params`.", reply.Strategies
        ),
        "/v1/verifiers": _get("The verifiers that a request can name.", reply.Verifiers),
        "/healthz": _get("200 as long as the process answers.", reply.Health),
        "/readyz": _get("200 once every engine is warm and the store answers.", reply.Readiness, not_ready),
        "/metrics": {
            "get": {"summary": "Prometheus metrics.", "responses": {"200": _text("Metrics.", "text/plain")}}
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Aliquot", "version": version("aliquot"), "description": DESCRIPTION},
        "paths": keyed(paths, _answer),
        "components": {"schemas": _schemas(config), "securitySchemes": SECURITY},
    }


def example(model: str) -> Json:
    """A request that any service answers."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": "How many legs does a spider have? Answer with a number."}],
        "temperature": 0.7,
        "max_tokens": 40,
        "scaling": {"strategy": "majority", "budget": {"samples": 12}, "answer": {"format": "number"}},
    }


def _schemas(config: WorldConfig) -> Json:
    modules = (reply, budget_replies, job_replies, profile_replies, batch_schemas, tenant_replies)
    told = [model for module in modules for model in vars(module).values()]
    replies = {m: None for m in told if isinstance(m, type) and issubclass(m, BaseModel)}
    described = [(m, "serialization") for m in replies if m is not BaseModel]
    requests = (
        *(ChatRequest, ScalingRequest, CostRequest, RecommendRequest),
        *(ProfileRequest, FeedbackRequest, JobRequest, BatchFileRequest, TenantRequest, KeyRequest),
    )
    read = [(m, "validation") for m in requests]
    _, definitions = models_json_schema([*described, *read], ref_template="#/components/schemas/{model}")  # type: ignore[list-item]
    schemas: Json = definitions["$defs"]
    chat, budget = (schemas[name]["properties"] for name in ("ChatRequest", "BudgetRequest"))
    chat["model"]["enum"] = models = [model.name for model in config.models]
    for priced in ("CostRequest", "CostVerifierRequest"):
        schemas[priced]["properties"]["model"]["anyOf"][0]["enum"] = models
    schemas["CostRequest"]["properties"]["hardware"]["anyOf"][0]["enum"] = [*HARDWARE, "cpu"]
    chat["reasoning_effort"]["anyOf"][0]["enum"] = list(config.defaults.effort)
    schemas["ScalingRequest"]["properties"]["strategy"]["anyOf"][0]["enum"] = list(registry())
    for unit in ("samples", "tokens", "seconds"):
        budget[unit]["anyOf"][0]["maximum"] = getattr(config.limits, unit)
    schemas["ChatRequest"]["examples"] = [example(config.models[0].name)]
    schemas["CostRequest"]["examples"] = [cost_example()]
    asked = schemas["RecommendRequest"]["properties"]
    asked["model"]["anyOf"][0]["enum"] = asked["models"]["anyOf"][0]["items"]["enum"] = models
    asked["verifiers"]["anyOf"][0]["items"]["enum"] = [
        *BUILT_IN,
        *(v.name for v in config.verifiers if v.kind != "embedding"),
    ]
    schemas["RecommendRequest"]["examples"] = [recommend_example()]
    schemas["ProfileRequest"]["properties"]["model"]["enum"] = models
    schemas["ProfileRequest"]["examples"] = [profile_example(models[0])]
    schemas["JobRequest"]["properties"]["model"]["enum"] = models
    schemas["JobRequest"]["examples"] = [job_example(models[0])]
    schemas["TenantRequest"]["examples"] = [tenant_example()]
    return schemas


def _run(summary: str, text: str, model: type[BaseModel]) -> Json:
    answer = _answer(text, model)
    answer["content"]["text/event-stream"] = {}
    header = {
        "name": "X-Aliquot-Scaling",
        "in": "header",
        "required": False,
        "description": "`scaling` as JSON, for clients that cannot send a body field.",
        "content": {"application/json": {"schema": _ref("ScalingRequest")}},
    }
    return {
        "summary": summary,
        "parameters": [header],
        "requestBody": _body(ChatRequest),
        "responses": {"200": answer, **_errors(*RUN_ERRORS)},
    }


def _cost() -> Json:
    return {
        "summary": "Price a plan without running it.",
        "requestBody": _body(CostRequest),
        "responses": {
            "200": _answer("eFLOPs, seconds, USD and memory.", budget_replies.PlanCost),
            **_errors(400, 404, 408, 413, 422),
        },
    }


def _recommend() -> Json:
    return {
        "summary": "Say how a budget should be split, and what it will buy.",
        "requestBody": _body(RecommendRequest),
        "responses": {
            "200": _answer(
                "The plan, its accuracy and cost, others, and why.", budget_replies.Recommendation
            ),
            **_errors(400, 404, 408, 413, 422, 503),
        },
    }


def _profiles() -> Json:
    kept = _get("What is known of each model on each task.", profile_replies.Profiles, {"503": _no_store()})
    fitted = _answer("The profile in short.", profile_replies.ProfileSummary)
    kept["post"] = {
        "summary": "Fit a profile to graded samples, and keep it.",
        "requestBody": _body(ProfileRequest),
        "responses": {"200": fitted, **_errors(400, 404, 408, 413, 422), "503": _no_store(busy=True)},
    }
    return kept


def _feedback() -> Json:
    unknown = _answer("There is no such response, or it is too old.", reply.Error)
    conflict = _answer("The opposite was said of this response before.", reply.Error)
    counted = _answer("What came of it.", profile_replies.Feedback)
    return {
        "summary": "Say whether an answer was right.",
        "requestBody": _body(FeedbackRequest),
        "responses": {
            "200": counted,
            **_errors(400, 408, 413, 422),
            "404": unknown,
            "409": conflict,
            "503": _no_store(),
        },
    }


def _no_store(*, busy: bool = False) -> Json:
    what = ", or too much is asked at once" if busy else ""
    return _answer(f"The store does not answer{what}; Retry-After says when to try again.", reply.Error)


def _get(summary: str, model: type[BaseModel], others: Json | None = None) -> Json:
    return {"get": {"summary": summary, "responses": {"200": _answer("OK", model), **(others or {})}}}


def _one_model() -> Json:
    told = _get("One of the models.", reply.Model, {"404": _answer(RUN_ERRORS[404], reply.Error)})
    told["get"]["parameters"] = [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]
    return told


def _body(model: type[BaseModel]) -> Json:
    return {"required": True, "content": {"application/json": {"schema": _ref(model.__name__)}}}


def _errors(*statuses: int) -> Json:
    return {str(status): _answer(RUN_ERRORS[status], reply.Error) for status in statuses}


def _answer(text: str, model: type[BaseModel]) -> Json:
    return {"description": text, "content": {"application/json": {"schema": _ref(model.__name__)}}}


def _text(text: str, media_type: str) -> Json:
    return {"description": text, "content": {media_type: {"schema": {"type": "string"}}}}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}
