"""Errors as clients see them: OpenAI's shape, a sentence that names the field and the mend."""

from __future__ import annotations

from typing import Any

from engines.base import EngineError, EngineRefused

RETRY_AFTER_SECONDS = 5
NOT_REPEATED = (408, 409, 504)
"""OpenAI's clients repeat a call that ended with one of these, in vain, or to spend its budget again."""

MOST_PATIENCE = 60
"""OpenAI's clients take no heed of a Retry-After above this, and would come again at once."""


class ApiError(Exception):
    """An answer other than 200. `param` names the field, `code` the kind; `retry_after` is in seconds."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if self.status in NOT_REPEATED or (self.retry_after or 0) > MOST_PATIENCE:
            headers["X-Should-Retry"] = "false"
        return headers

    def body(self) -> dict[str, Any]:
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def unreadable(message: str, param: str | None = None, code: str = "invalid_request") -> ApiError:
    """400: the request cannot be read."""
    return ApiError(400, code, message, param=param)


def undoable(code: str, message: str, param: str | None = None) -> ApiError:
    """422: the request can be read, and cannot be done."""
    return ApiError(422, code, message, param=param)


def too_late(seconds: float) -> ApiError:
    """504: time ran out with nothing in hand."""
    message = (
        f"No answer was finished within {seconds:.3g} s. Raise scaling.budget.seconds or lower max_tokens."
    )
    return ApiError(504, "deadline_before_first_answer", message, param="scaling.budget.seconds")


def too_few_tokens(tokens: int | None) -> ApiError:
    """422: the budget in tokens had no room for an answer."""
    message = f"{tokens} tokens have no room for one answer and what judges it. Raise scaling.budget.tokens."
    return undoable("budget_too_small", message, "scaling.budget.tokens")


def too_little(unit: str, cap: float | None, least: float) -> ApiError:
    """422: the budget in eFLOPs or USD does not pay for an answer, of which one token costs `least`."""
    message = (
        f"{cap:.3g} {unit} do not pay for an answer: its prompt, one token and what judges it cost up to {least:.3g}. "
        f"Raise scaling.budget.{unit}."
    )
    return undoable("budget_too_small", message, f"scaling.budget.{unit}")


def engine_failed(error: EngineError) -> ApiError:
    """400 where the engine refused the request itself, 503 where it could not answer."""
    if isinstance(error, EngineRefused):
        return unreadable(str(error), code="engine_refused")
    message = f"{error} Try again shortly; `aliquot doctor` and /readyz say whether the engine is back."
    return ApiError(503, "engine_unavailable", message, retry_after=RETRY_AFTER_SECONDS)
