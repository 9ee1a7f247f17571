"""No request changes what a module holds: replicas, and requests within one, share the store alone."""

import importlib
import pkgutil
import sys
from collections import deque
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from tests.reference import ROOT
from tests.service.live import MESSAGES
from tests.service.shared_state import changes, unbounded_caches
from tests.service.tenants.asking import ADMIN, asking, bearer, new_key
from tests.stand_ins import MODEL

PACKAGES = ("service", "strategies", "verifiers", "engines", "budgets")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

SMALL = {
    "strategies/registry.py": ["registry", "_adapter"],  # one strategy after the other, of the code alone
    "verifiers/sandbox_filter.py": ["seccomp_filter"],  # of this machine
    "budgets/hardware.py": ["measure_cpu"],  # without parameters
}
"""Functions whose cache needs no bound: nothing that a request says makes another entry."""


PROCESSES = ("verifiers/sandbox_process.py", "verifiers/unit_tests_process.py")
"""Programs of one sandboxed process each, which ends with the code that it ran."""
ELSEWHERE = ("engines.convert_bundled",)
"""What vLLM's Python runs, and the service never imports."""


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_no_function_changes_what_its_module_or_its_class_holds(path):
    found = list(changes(path.read_text()))
    assert bool(found) == (named(path) in PROCESSES), found


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_what_a_module_remembers_is_bounded_and_no_object_of_a_request(path):
    assert list(unbounded_caches(path.read_text())) == SMALL.get(named(path), [])


@pytest.mark.parametrize(
    "wrong",
    [
        "seen = []\ndef ask(x): seen.append(x)",
        "quota = {}\nasync def ask(x):\n  quota[x] = quota.get(x, 0) + 1",
        "count = 0\ndef ask():\n  global count\n  count += 1",
        "class A:\n  made = []\n  def __init__(self):\n    A.made.append(self)",
        "class A:\n  count = 0\n  @classmethod\n  def ask(cls):\n    cls.count += 1",
        "from a import table\ndef ask():\n  del table['x']",
        "import os\ndef ask():\n  os.environ['A'] = 'b'",
        "import a\ndef ask():\n  a.count += 1",
        "seen = set()\ndef ask(x):\n  def inner():\n    seen.add(x)\n  return inner",
        "seen = set()\nask = lambda x: seen.add(x)",
    ],
)
def test_a_change_is_found(wrong):
    assert len(list(changes(wrong))) >= 1


@pytest.mark.parametrize(
    "right",
    [
        "def ask(x):\n  seen = []\n  seen.append(x)\n  return seen",
        "seen = ()\ndef ask(seen):\n  seen.append(1)",
        "class A:\n  def __init__(self):\n    self.seen = []\n  def ask(self, x):\n    self.seen.append(x)",
        "import os\ndef ask(path):\n  os.remove(path)",
        "table = {}\ntable['x'] = 1",
        "seen = set()\ndef ask(x):\n  with open(x) as seen:\n    seen.pop()",
    ],
)
def test_what_is_a_functions_own_is_no_change(right):
    assert list(changes(right)) == []


def test_a_cache_without_a_bound_or_of_a_method_is_found():
    assert list(unbounded_caches("@cache\ndef a(x): ...")) == ["a"]
    assert list(unbounded_caches("@lru_cache(maxsize=None)\ndef a(x): ...")) == ["a"]
    assert list(unbounded_caches("class A:\n  @lru_cache(8)\n  def a(self): ...")) == ["a"]
    assert list(unbounded_caches("@lru_cache(8)\ndef a(x): ...")) == []


async def test_requests_leave_all_that_modules_hold_as_it_was():
    load_all()
    async with asking() as running:
        before = held()
        assert len(before) > 1000
        await ask_for_much(running)
        after = held()
    assert {name for name in before if before[name] != after.get(name)} == set()
    assert after.keys() == before.keys()


def test_a_change_in_what_a_module_holds_is_found(monkeypatch):
    table = {"a": [1]}
    monkeypatch.setattr("service.errors.TABLE", table, raising=False)
    before = held()
    table["a"].append(2)
    assert [name for name, what in held().items() if before[name] != what] == ["service.errors.TABLE"]


def load_all() -> None:
    for package in PACKAGES:
        for info in pkgutil.walk_packages([str(ROOT / package)], f"{package}."):
            if info.name not in ELSEWHERE and not info.name.endswith("__main__"):
                importlib.import_module(info.name)


async def ask_for_much(running) -> None:
    client, key = running.client, bearer(await new_key(running.client, "maths", tokens_per_day=100_000))
    asked = {"model": MODEL, "messages": MESSAGES, "scaling": {"budget": {"samples": 2}}}
    for path, more, status in (
        ("/v1/chat/completions", {}, 200),
        ("/v1/chat/completions", {"stream": True}, 200),
        ("/v1/scale", {"scaling": {"strategy": "best_of_n", "budget": {"samples": 2}}}, 200),
        ("/v1/jobs", {}, 202),
        ("/v1/chat/completions", {"model": "none"}, 404),
    ):
        once = key | {"Idempotency-Key": f"{path}{more}"}
        for replayed in (None, "true"):
            answer = await client.post(path, json=asked | more, headers=once)
            assert answer.status_code == status, answer.text
            assert answer.headers.get("idempotent-replayed") == replayed
    for path in (
        "/v1/usage",
        "/v1/models",
        "/v1/jobs",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/v1/nowhere",
    ):
        await client.get(path, headers=key)
    await client.get("/v1/admin/keys", headers=ADMIN)


def held() -> dict[str, str]:
    """What the modules of Aliquot hold: for each name, all that can be told of its value."""
    modules = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in PACKAGES}
    return {
        f"{name}.{part}": told(value, name, 0)
        for name, module in modules.items()
        for part, value in vars(module).items()
        if not part.startswith("__")
    }


def told(value: object, module: str, depth: int) -> str:
    """A value and what it holds, some levels deep; classes of the same module with what they hold themselves."""
    inner = depth + 1
    if depth > 4:
        return type(value).__name__
    if isinstance(value, dict):
        return str([(str(key), told(part, module, inner)) for key, part in value.items()])
    if isinstance(value, list | tuple | set | frozenset | deque):
        return f"{type(value).__name__}{[told(part, module, inner) for part in value]}"
    if is_dataclass(value) and not isinstance(value, type):
        return str([told(getattr(value, field.name, None), module, inner) for field in fields(value)])
    if isinstance(value, type):
        if value.__module__ != module or depth:
            return value.__qualname__
        kept = {name: part for name, part in vars(value).items() if not name.startswith("__")}
        return value.__qualname__ + told(kept, module, inner)
    if isinstance(value, str | bytes | int | float | bool | None):
        return repr(value)
    own = getattr(value, "__dict__", None)
    ours = type(value).__module__.partition(".")[0] in PACKAGES
    return f"{type(value).__name__}@{id(value)}" + (told(own, module, inner) if own and ours else "")
