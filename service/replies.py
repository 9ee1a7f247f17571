"""Finished runs in the form of the API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from uuid import uuid4

import msgspec
from starlette.responses import Response

from service.running import Run
from strategies.base import Candidate
from verifiers.base import Step
from verifiers.formats.base import encodable
from verifiers.reasoning import split_reasoning
from verifiers.tool_calls import parse_tool_calls

Json = dict[str, Any]


def encode(value: Any) -> bytes:
    """JSON; numbers that JSON has no name for become null."""
    return msgspec.json.encode(value)


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(encode(value), status, headers, "application/json")


def chat_completion(run: Run, id: str) -> Json:
    """OpenAI's chat completion with the `n` best answers, and `scaling`."""
    return {
        "id": id,
        "object": "chat.completion",
        "created": run.plan.created,
        "model": run.plan.model,
        "choices": [
            {"index": i, "message": message, "logprobs": None, "finish_reason": reason}
            for i, (message, reason) in enumerate(messages(run))
        ],
        "usage": usage(run),
        "scaling": scaling(run),
    }


def scaling_outcome(run: Run, id: str) -> Json:
    """The whole outcome: every finished candidate, best first, and the trace."""
    return {
        "id": id,
        "object": "scaling.outcome",
        "model": run.plan.model,
        "created": run.plan.created,
        "candidates": [_candidate(candidate) for candidate in run.outcome.candidates],
        "usage": usage(run),
        "scaling": scaling(run),
        "trace": run.trace,
    }


def messages(run: Run) -> list[tuple[Json, str]]:
    """The `n` best candidates as assistant messages, each with its finish reason."""
    return [message(candidate, run.plan.tools) for candidate in run.outcome.candidates[: run.plan.problem.k]]


def message(candidate: Candidate, tools: bool) -> tuple[Json, str]:
    return spoken(candidate.text, candidate.response.sample.finish_reason, tools)


def spoken(text: str, finish_reason: str, tools: bool) -> tuple[Json, str]:
    """An answer as an assistant's message, with its finish reason."""
    reasoning, content = split_reasoning(text)
    reply: Json = {"role": "assistant", "content": content}
    if reasoning is not None:
        reply["reasoning_content"] = reasoning
    if tools:
        content, calls = parse_tool_calls(content)
        if calls:
            reply["content"] = content or None
            reply["tool_calls"] = [_tool_call(call.name, call.arguments) for call in calls]
            return reply, "tool_calls"
    return reply, finish_reason


def usage(run: Run) -> Json:
    """Every token that was spent, by the generator and by verifiers that are models."""
    spent = run.spent
    read = spent.prompt_tokens + spent.verifier_tokens
    return {
        "prompt_tokens": read,
        "completion_tokens": spent.tokens,
        "total_tokens": read + spent.tokens,
        "prompt_tokens_details": {"cached_tokens": spent.cached_tokens},
    }


def scaling(run: Run) -> Json:
    """How the budget was spent, and on what answers."""
    plan, outcome, budget = run.plan, run.outcome, run.plan.ledger.budget
    reply: Json = {
        "strategy": plan.strategy.name,
        "chosen_by": plan.chosen_by,
        "params": plan.strategy,
        "verifier": plan.verifier.name if plan.verifier else None,
        "budget": {**asdict(budget), "seconds": plan.most_seconds},
        "spent": _spent(run),
        "answers": answers(run),
        "stopped_because": outcome.stopped_because,
        "warnings": list(run.warnings),
    }
    if plan.chosen_by == "auto":
        reply["reasons"] = [*plan.reasons, *outcome.reasons]
    if outcome.estimates:
        reply["estimates"] = outcome.estimates
    return reply


def _spent(run: Run) -> Json:
    spent, lost, tariff = run.spent, run.lost, run.plan.pricing.generator
    paid = tariff is not None and tariff.usd_per_hour is not None
    return {
        "samples": spent.samples,
        "prompt_tokens": spent.prompt_tokens,
        "cached_tokens": spent.cached_tokens,
        "tokens": spent.tokens,
        "verifier_tokens": spent.verifier_tokens,
        "eflops": spent.charge.eflops if tariff else None,
        "seconds": round(run.seconds, 4),
        "usd": spent.charge.usd if paid else None,
        "lost": {
            "calls": lost.calls,
            "samples": lost.samples,
            "tokens": lost.tokens,
            "eflops": lost.eflops if tariff else None,
            "usd": lost.usd if paid else None,
        }
        if lost.calls
        else None,
    }


def answers(run: Run) -> list[Json]:
    """The different answers, best first, each with its votes and its best response's score."""
    seen: dict[str, Json] = {}
    for candidate in run.outcome.candidates:
        if candidate.answer is not None:
            entry = {"answer": candidate.answer, "votes": candidate.votes, "score": candidate.score}
            seen.setdefault(candidate.answer, entry)
    return list(seen.values())


def _candidate(candidate: Candidate) -> Json:
    sample = candidate.response.sample
    whole = Step(sample.text, len(sample.tokens), candidate.score)
    return {
        "text": sample.text,
        "answer": candidate.answer,
        "score": candidate.score,
        "votes": candidate.votes,
        "tokens": len(sample.tokens),
        "finish_reason": sample.finish_reason,
        "steps": candidate.response.steps or (whole,),
    }


def _tool_call(name: str, arguments: Mapping[str, Any]) -> Json:
    written = json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))
    function = {"name": encodable(name), "arguments": encodable(written)}
    return {"id": f"call_{uuid4().hex[:24]}", "type": "function", "function": function}
