"""Chat messages between OpenAI's form and ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engines.base import Message
from service.errors import unreadable
from service.schemas import ChatMessage
from service.settings import Limits


def check_messages(messages: Sequence[ChatMessage], limits: Limits) -> None:
    """Raises ApiError 400 for messages that say nothing, or too many."""
    if len(messages) > limits.messages:
        raise unreadable(
            f"messages holds {len(messages)}, and at most {limits.messages} are taken.", "messages"
        )
    for i, message in enumerate(messages):
        if message.content is None and not message.tool_calls:
            raise unreadable(f"messages.{i}.content is missing. Give a text.", f"messages.{i}.content")


def plain_messages(messages: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """The messages as the engine and verifiers take them: content as one text, nothing that is null.

    A `developer` is a `system`, since few chat templates know that role.
    """
    return tuple(_plain(message.model_dump(exclude_none=True)) for message in messages)


def _plain(message: dict[str, Any]) -> Message:
    content = message.get("content", "")
    message["content"] = content if isinstance(content, str) else "".join(part["text"] for part in content)
    if message["role"] == "developer":
        message["role"] = "system"
    return message
