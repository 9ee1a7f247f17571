"""From the bytes of an outcome, or of a bare trace, to what is drawn."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, Final, TypeVar

import msgspec

from service.drawing.genealogy import Genealogy, TraceError
from service.drawing.model import Response, Run

MOST = 10**15
"""No count is larger; so sums and shares of counts stay exact."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MOST)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=MOST)]
Number = float | None


class StepNode(msgspec.Struct):
    node: Positive
    parent: Count
    tokens: Count
    text: str
    score: Number
    finished: bool


class Steps(msgspec.Struct):
    depth: Positive
    nodes: list[StepNode]
    kv_tokens: Count
    iteration: Positive | None = None


class Select(msgspec.Struct):
    depth: Positive
    kept: list[tuple[Count, Count]]
    kv_tokens: Count
    iteration: Positive | None = None
    ess: Number = None
    temperature: Number = None
    objective: Number = None
    proven: bool | None = None


class Chosen(msgspec.Struct):
    node: Positive
    answer: str | None = None
    iteration: Positive | None = None


class Event(msgspec.Struct):
    """What every entry of a trace has; those of other kinds are not drawn."""

    event: str
    at: float = 0.0


class Spent(msgspec.Struct):
    samples: Count
    tokens: Count
    seconds: float
    verifier_tokens: Count = 0


class Scaling(msgspec.Struct):
    strategy: str
    spent: Spent
    verifier: str | None = None
    warnings: list[str] = []


class Candidate(msgspec.Struct):
    text: str
    answer: str | None
    score: Number
    votes: Count
    tokens: Count


class Outcome(msgspec.Struct):
    scaling: Scaling
    candidates: list[Candidate]
    trace: list[Any]
    model: str = ""


T = TypeVar("T")

_PLACE: Final = re.compile(r"(.*) - at `\$(.*)`", re.DOTALL)


def read(data: bytes) -> Run:
    """The run in the JSON of an outcome of `/v1/scale`, or of its `trace` alone.

    Raises TraceError with a sentence that names the place of what cannot be read.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise TraceError(f"This is no JSON: {error}.") from error
    if isinstance(value, list):
        genealogy, seconds = _events(value)
        if not genealogy.panels:
            raise TraceError(
                "This trace holds no step of a search, and without its candidates there is nothing else to draw. "
                "Give the whole outcome, as `aliquot ask --trace` writes it."
            )
        return _bare(genealogy, seconds)
    if isinstance(value, dict) and isinstance(value.get("error"), dict):
        raise TraceError(f"This is an error that a service answered: {value['error'].get('message')}")
    outcome = _convert(value, Outcome, "")
    genealogy, _ = _events(outcome.trace)
    if not genealogy.panels and not outcome.candidates:
        raise TraceError(
            "This outcome holds neither a step of a search nor a candidate: there is nothing to draw."
        )
    return _whole(outcome, genealogy)


def _events(trace: Sequence[Any]) -> tuple[Genealogy, float]:
    """The search that a trace tells of, and the seconds at which it ended."""
    genealogy, seconds = Genealogy(), 0.0
    for i, entry in enumerate(trace):
        place = f"trace.{i}"
        event = _convert(entry, Event, place)
        seconds = max(seconds, _finite(event.at) or 0.0)
        if event.event == "steps":
            steps = _convert(entry, Steps, place)
            genealogy.grow(steps.iteration, steps.depth, steps.kv_tokens)
            for j, node in enumerate(steps.nodes):
                fields = msgspec.structs.asdict(node) | {"score": _finite(node.score)}
                genealogy.add(f"{place}.nodes.{j}", **fields)
        elif event.event == "select":
            select = _convert(entry, Select, place)
            said = {name: getattr(select, name) for name in ("ess", "temperature", "objective", "proven")}
            facts = {name: value for name, value in said.items() if _finite(value) is not None}
            genealogy.select(place, select.iteration, select.depth, select.kept, select.kv_tokens, facts)
        elif event.event == "chosen":
            chosen = _convert(entry, Chosen, place)
            genealogy.choose(place, chosen.iteration, chosen.node, chosen.answer)
    return genealogy, seconds


def _whole(outcome: Outcome, genealogy: Genealogy) -> Run:
    scaling, spent = outcome.scaling, outcome.scaling.spent
    responses = [Response(c.text, c.answer, _finite(c.score), c.votes, c.tokens) for c in outcome.candidates]
    answer = genealogy.answer if genealogy.chose else None
    if answer is None and responses:
        answer = responses[0].answer
    facts = [
        outcome.model,
        f"{spent.samples:,} samples",
        f"{spent.tokens:,} tokens",
        f"{spent.seconds:,.2f} s",
        f"verifier {scaling.verifier}" if scaling.verifier else "no verifier",
    ]
    title = scaling.strategy + (f": {answer}" if answer is not None else ": no answer")
    return Run(title, [fact for fact in facts if fact], scaling.warnings, genealogy.panels, responses)


def _bare(genealogy: Genealogy, seconds: float) -> Run:
    nodes = [node for panel in genealogy.panels for node in panel.nodes.values() if not node.recalled]
    facts = [
        f"{len(nodes):,} steps",
        f"{sum(node.tokens for node in nodes):,} tokens in them",
        f"{seconds:,.2f} s",
    ]
    title = f"A search: {genealogy.answer}" if genealogy.answer is not None else "A search"
    return Run(title, facts, (), genealogy.panels, ())


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _convert(value: Any, type: type[T], place: str) -> T:
    """The value as `type`; what does not fit is named as in `trace.3.nodes.0.parent: Expected …`."""
    try:
        return msgspec.convert(value, type)
    except msgspec.ValidationError as error:
        said = _PLACE.fullmatch(str(error))
        what, inside = said.groups() if said else (str(error), "")
        where = (place + re.sub(r"\[(\d+|\.\.\.)\]", r".\1", inside)).strip(".")
        raise TraceError(
            f"{where}: {what}." if where else f"This is no outcome of /v1/scale: {what}."
        ) from error
