"""Chat messages between OpenAI's form and ours."""

from __future__ import annotations

from typing import Any

from engines.base import Message
from service.schemas import ChatRequest


def plain_messages(request: ChatRequest) -> tuple[Message, ...]:
    """The messages as the engine and verifiers take them: content as one text, nothing that is null.

    A `developer` is a `system`, since few chat templates know that role.
    """
    return tuple(_plain(message.model_dump(exclude_none=True)) for message in request.messages)


def _plain(message: dict[str, Any]) -> Message:
    content = message.get("content", "")
    message["content"] = content if isinstance(content, str) else "".join(part["text"] for part in content)
    if message["role"] == "developer":
        message["role"] = "system"
    return message
