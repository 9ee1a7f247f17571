"""Chat messages between OpenAI's form and ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engines.base import Message
from service.errors import unreadable
from service.schemas import ChatRequest


def plain_messages(request: ChatRequest) -> tuple[Message, ...]:
    """The messages as the engine and verifiers take them: content as one text, nothing that is null."""
    return tuple(_plain(message.model_dump(exclude_none=True)) for message in request.messages)


def _plain(message: dict[str, Any]) -> Message:
    content = message.get("content", "")
    message["content"] = content if isinstance(content, str) else "".join(part["text"] for part in content)
    return message


def check_text(request: ChatRequest) -> None:
    """Refuse characters that no tokenizer or store takes: NUL, and surrogates without their other half."""
    for param, text in _texts(request):
        if "\x00" in text:
            raise unreadable(f"{param} holds a NUL character. Take it out.", param, "invalid_text")
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            raise unreadable(
                f"{param} holds half of a surrogate pair. Send valid Unicode.", param, "invalid_text"
            )


def _texts(request: ChatRequest) -> Iterator[tuple[str, str]]:
    for i, message in enumerate(request.messages):
        content = message.content or ""
        parts = [content] if isinstance(content, str) else [part.text for part in content]
        yield from ((f"messages.{i}.content", part) for part in parts)
        for call in message.tool_calls or ():
            yield f"messages.{i}.tool_calls", call.function.arguments
    stop = request.stop or []
    yield from (("stop", text) for text in ([stop] if isinstance(stop, str) else stop))
    answer = request.scaling and request.scaling.answer
    if answer and answer.pattern:
        yield "scaling.answer.pattern", answer.pattern
    verifier = request.scaling and request.scaling.verifier
    if verifier and not isinstance(verifier, str) and verifier.reference:
        yield "scaling.verifier.reference", verifier.reference
