"""What to do after a failed call: one value, decided in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from engines.base import EngineError, EngineRefused, EngineUnavailable

Policy = Literal["elsewhere", "give_up"]

MOST_BEGUN = 2
"""Replicas that may fail while they work on one call."""


def policy(failures: Sequence[EngineError]) -> Policy:
    """Whether to repeat on another replica a call that met these `failures` so far.

    A call that the engine read and refused fails anywhere. One that `MOST_BEGUN` replicas may have worked on when they
    failed is not given to a further one: it may be the call that ends them.
    """
    if isinstance(failures[-1], EngineRefused):
        return "give_up"
    begun = sum(not generated_nothing(failure) for failure in failures)
    return "give_up" if begun >= MOST_BEGUN else "elsewhere"


def told(failures: Sequence[EngineError]) -> EngineError:
    """The failure to raise for a call that met them all: a refusal, else one that may have generated something."""
    if isinstance(failures[-1], EngineRefused):
        return failures[-1]
    return next((failure for failure in failures if not generated_nothing(failure)), failures[-1])


def generated_nothing(error: EngineError) -> bool:
    """Whether a failed call is known to have generated nothing."""
    return isinstance(error, EngineRefused) or (isinstance(error, EngineUnavailable) and not error.began)
