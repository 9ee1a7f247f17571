"""The strategies there are: every file of this folder that holds one."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import import_module
from inspect import getdoc
from types import MappingProxyType
from typing import Any, TypeGuard

from pydantic import TypeAdapter, ValidationError

import strategies
from strategies.base import Strategy


class BadParameter(ValueError):
    """A parameter that the strategy does not have or take. `param` names it."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


@cache
def registry() -> Mapping[str, type[Strategy]]:
    """Strategies by name. A class is one if it is a dataclass with `name`, `verifier` and `run`."""
    found: dict[str, type[Strategy]] = {}
    for info in pkgutil.iter_modules(strategies.__path__):
        module = import_module(f"strategies.{info.name}")
        for item in vars(module).values():
            if getattr(item, "__module__", None) == module.__name__ and _is_strategy(item):
                found[item.name] = item
    return MappingProxyType(dict(sorted(found.items())))


def _is_strategy(item: Any) -> TypeGuard[type[Strategy]]:
    return (
        isinstance(item, type)
        and is_dataclass(item)
        and all(hasattr(item, part) for part in ("name", "verifier", "run"))
    )


@cache
def _adapter(cls: type[Strategy]) -> TypeAdapter[Strategy]:
    return TypeAdapter(cls)


def build(name: str, params: Mapping[str, Any]) -> Strategy:
    """The strategy `name` with `params`. Raises KeyError for an unknown name, BadParameter for bad parameters."""
    cls = registry()[name]
    if not params:
        return cls()
    known = [f.name for f in fields(cls)]  # type: ignore[arg-type]
    for param in params:
        if param not in known:
            has = f"It has {', '.join(known)}." if known else "It has none."
            raise BadParameter(param, f"{name} has no parameter {param!r}. {has}")
    try:
        return _adapter(cls).validate_python(params)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise BadParameter(where, f"{where}: {first['msg']}") from error


def describe(cls: type[Strategy]) -> dict[str, Any]:
    """What a client needs to know of a strategy: its text, its need of a verifier, its parameters' JSON schema."""
    schema = _adapter(cls).json_schema()
    schema.pop("description", None)
    return {"name": cls.name, "verifier": cls.verifier, "description": getdoc(cls) or "", "params": schema}
