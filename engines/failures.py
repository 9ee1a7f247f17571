"""What to do after a failed call: one value, decided in one place."""

from __future__ import annotations

from typing import Literal

from engines.base import EngineError, EngineRefused, EngineUnavailable

Policy = Literal["elsewhere", "give_up"]


def policy(error: EngineError, *, began: bool) -> Policy:
    """Whether to repeat a failed call on another replica.

    A call that the engine read and refused fails anywhere; one whose samples had `began` to arrive is not repeated,
    since what came is kept and charged.
    """
    return "give_up" if began or isinstance(error, EngineRefused) else "elsewhere"


def generated_nothing(error: EngineError) -> bool:
    """Whether a failed call is known to have generated nothing."""
    return isinstance(error, EngineRefused) or (isinstance(error, EngineUnavailable) and not error.began)
