"""The prompt of a request, as the engine counts it, and the room that it leaves."""

from __future__ import annotations

from typing import Any

from engines.base import Engine, EngineError, Message
from service.errors import engine_failed, unreadable
from service.schemas import ChatRequest


async def prompt_of(
    engine: Engine, request: ChatRequest, messages: tuple[Message, ...]
) -> tuple[tuple[int, ...], int]:
    """The prompt's token ids, and the most tokens that a sample may have. Raises ApiError."""
    tools: list[dict[str, Any]] = []
    if request.tools and request.may_call:
        tools = [tool.model_dump(exclude_none=True) for tool in request.tools]
    try:
        prompt = await engine.tokenize(messages, tools=tools, template=request.chat_template_kwargs)
        context = await engine.context_length()
    except EngineError as error:
        raise engine_failed(error) from error
    if not prompt:
        raise unreadable(
            "messages make an empty prompt. Give at least one of them a text.", "messages", "empty_prompt"
        )
    room = context - len(prompt)
    if room < 1:
        message = f"The prompt has {len(prompt)} tokens, and {request.model} takes {context} in all. Shorten messages."
        raise unreadable(message, "messages", "context_length_exceeded")
    field, asked = _most_tokens(request)
    if asked and asked > room:
        message = (
            f"{field} is {asked}, but a prompt of {len(prompt)} tokens leaves {room} of {context}. Lower it."
        )
        raise unreadable(message, field, "context_length_exceeded")
    return prompt, asked or room


def _most_tokens(request: ChatRequest) -> tuple[str, int | None]:
    """The field that says how long a sample may be, and what it says."""
    if request.max_completion_tokens is None:
        return "max_tokens", request.max_tokens
    if request.max_tokens not in (None, request.max_completion_tokens):
        message = "max_tokens and max_completion_tokens differ, and mean the same. Give one of them."
        raise unreadable(message, "max_tokens")
    return "max_completion_tokens", request.max_completion_tokens
