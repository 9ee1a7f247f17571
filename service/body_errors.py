"""What is wrong with a body, as one sentence of bounded length, whatever was sent."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from service.errors import ApiError, unreadable

MOST_FAULTS = 100
_SHOWN = 80
_TYPES = frozenset({"str", "int", "float", "bool", "constrained-str"})


def first_fault(error: ValidationError, within: str = "") -> ApiError:
    """The first thing that is wrong, as a sentence; of a union, of the alternative whose type was met."""
    if error.error_count() > MOST_FAULTS:
        what = f"{within or 'The body'} has {error.error_count()} faults. /docs shows what may be sent."
        return unreadable(what, within or None, "invalid_value")
    problem = min(
        error.errors(include_url=False, include_context=False),
        key=lambda e: (e["type"].endswith("_type"), len(e["loc"])),
    )
    if problem["type"] == "json_invalid":
        what = f"{within or 'The body'} is not valid JSON: {problem['msg'].removeprefix('Invalid JSON: ')}."
        return unreadable(what, within or None, "invalid_json")
    param = _param(within, problem["loc"], named=problem["type"] in ("extra_forbidden", "missing"))
    if problem["type"] == "extra_forbidden":
        return unreadable(f"{param} is not a parameter of Aliquot. Leave it out.", param, "unknown_parameter")
    if problem["type"] == "missing":
        return unreadable(f"{param} is missing. Add it.", param, "missing_parameter")
    says = problem["msg"].removeprefix("Value error, ")
    return unreadable(
        f"{param or 'The body'}: {says}{_not(problem['input'])}.", param or None, "invalid_value"
    )


def refuse_nul(value: Any, param: str = "") -> None:
    """Refuse NUL characters, which no tokenizer or store takes. Raises ApiError 400."""
    if isinstance(value, str) and "\x00" in value:
        raise unreadable(f"{param} holds a NUL character. Take it out.", param, "invalid_text")
    if isinstance(value, dict):
        refuse_nul("".join(value), param)
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        refuse_nul(part, f"{param}.{str(key)[:_SHOWN]}" if param else str(key)[:_SHOWN])


def _param(within: str, path: tuple[int | str, ...], *, named: bool) -> str:
    """The field's path; `named` says that its last part is a field's name, whatever it looks like."""
    *outer, last = path or ("",)
    parts = [within, *filter(_is_field, outer), last if named or _is_field(last) else ""]
    return ".".join(str(part)[:_SHOWN] for part in parts if part != "")


def _is_field(part: int | str) -> bool:
    """Whether a part of an error's path is a field or an index, and no name of a union's alternative."""
    return isinstance(part, int) or (
        part.replace("_", "").isalnum() and part.lower() == part and part not in _TYPES
    )


def _not(given: Any) -> str:
    """What was given instead, where it is short enough to be shown."""
    if isinstance(given, str):
        return f", not {given[:_SHOWN]!r}"
    shown = given is None or isinstance(given, float) or (isinstance(given, int) and abs(given) < 10**_SHOWN)
    return f", not {given!r}" if shown else ""
