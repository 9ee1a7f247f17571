from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
import pytest_asyncio

from budgets.budget import Budget
from engines.base import EngineRefused, Message
from strategies.best_of_n import BestOfN
from strategies.repeated_sampling import RepeatedSampling
from tests.human_eval import Task, kept, nearly_right
from tests.strategies.bench import run as run_strategy
from tests.verifiers.scoring import MESSAGES, response
from verifiers.sandbox import Finished, Limits, Sandbox, SandboxUnavailable
from verifiers.unit_tests import UnitTests

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHECK = """
def check(candidate):
    assert candidate(1) == 2
    assert candidate(2) == 3
    assert candidate(-1) == 0
"""
RIGHT = "def f(x):\n    return x + 1\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> Sandbox:
    return Sandbox(limits=Limits(wall_seconds=60.0, cpu_seconds=2))


async def verdicts(
    sandbox: Sandbox, program: str, tests: str = CHECK, entry_point: str | None = "f"
) -> list[bool]:
    return list(await UnitTests(tests, entry_point, sandbox).run(MESSAGES, program))


async def scores(sandbox: Sandbox, programs: Sequence[str], tests: str = CHECK) -> list[float | None]:
    verdict = await UnitTests(tests, "f", sandbox).score(
        MESSAGES, [response(program) for program in programs]
    )
    assert verdict.warnings == ()
    assert (verdict.read, verdict.generated) == (0, 0)
    return list(verdict.scores)


async def test_a_right_program_scores_one_and_others_less_than_half(sandbox: Sandbox) -> None:
    two_of_three = "def f(x):\n    return max(x + 1, 1)\n"
    one_of_three = "def f(x):\n    return 2\n"
    programs = [RIGHT, two_of_three, one_of_three, "def f(x):\n    return 'x'\n"]
    assert await scores(sandbox, programs) == [1.0, pytest.approx(1 / 3), pytest.approx(1 / 6), 0.0]


@pytest.mark.parametrize(
    "program",
    [
        "",
        "I cannot write code.",
        "def f(x)\n    return x + 1\n",
        "def f(x):\n    while True: pass\n",
        "def g(x):\n    return x + 1\n",
        "raise RuntimeError\n" + RIGHT,
        RIGHT + "import sys\nsys.exit(0)\n",
        RIGHT + "f = None\n",
        "\0",
        "x = " + "(" * 50_000,
        "x = " + "-" * 100_000 + "1",
    ],
)
async def test_what_is_no_running_program_is_a_wrong_answer(program: str, sandbox: Sandbox) -> None:
    assert await scores(sandbox, [program]) == [0.0]


async def test_each_assert_has_its_verdict(sandbox: Sandbox) -> None:
    tests = (
        "one = f(1)\nassert one == 2\nassert f(2) == 2, 'no'\nfor x in range(9):\n    assert f(x) == x + 1\n"
    )
    assert await verdicts(sandbox, RIGHT, tests, None) == [True, False, True]
    assert await verdicts(sandbox, "def f(x):\n    return 2 if x < 3 else 0", tests, None) == [
        True,
        True,
        False,
    ]


async def test_what_raises_ends_the_asserts_behind_it(sandbox: Sandbox) -> None:
    tests = "assert f(1) == 2\nf(None)\nassert f(2) == 3\n"
    assert await verdicts(sandbox, RIGHT, tests) == [True, False, False]
    in_check = CHECK.replace("    assert candidate(2)", "    candidate(None)\n    assert candidate(2)")
    assert await verdicts(sandbox, RIGHT, in_check) == [True, False, False, False]


async def test_an_assert_that_raises_does_not_end_the_others(sandbox: Sandbox) -> None:
    for raised in ("ValueError", "SystemExit", "KeyboardInterrupt", "GeneratorExit", "RecursionError"):
        program = f"def f(x):\n    if x == 1: raise {raised}\n    return x + 1\n"
        assert await verdicts(sandbox, program) == [False, True, True]


async def test_test_functions_are_one_test_each(sandbox: Sandbox) -> None:
    tests = (
        "import math\n"
        "def test_one():\n    assert f(1) == 2\n    assert f(2) == 3\n"
        "def test_two():\n    assert f(1) == 2\n    assert f(2) == 4\n"
        "async def test_three():\n    assert f(1) == 3\n"
        "def test_four():\n    try:\n        f(None)\n    except TypeError:\n        return\n    assert False\n"
        "def helper():\n    assert False\n"
    )
    assert await verdicts(sandbox, RIGHT, tests) == [True, False, False, True]
    assert await verdicts(sandbox, RIGHT, tests, None) == [True, False, False, True]


async def test_an_expected_exception_is_a_test(sandbox: Sandbox) -> None:
    tests = (
        "def check(candidate):\n    try:\n        candidate(None)\n        assert False\n"
        "    except TypeError:\n        assert True\n"
    )
    assert await verdicts(sandbox, RIGHT, tests) == [True]
    assert not all(await verdicts(sandbox, "def f(x):\n    return 2", tests))


@pytest.mark.parametrize(
    "tests", [CHECK + "check(f)\n", "def check(c):\n    if c(1) != 2: raise ValueError\ncheck(f)"]
)
async def test_tests_that_call_check_themselves_need_no_entry_point(tests: str, sandbox: Sandbox) -> None:
    assert await verdicts(sandbox, RIGHT, tests, None) == [True]
    assert await verdicts(sandbox, "def f(x):\n    return 9", tests, None) == [False]


@pytest.mark.parametrize("tests", ["for x in f(0): assert x", "def check(c):\n    for x in c(0): assert x"])
async def test_tests_that_end_without_an_assert_are_passed(tests: str, sandbox: Sandbox) -> None:
    assert await verdicts(sandbox, "def f(x): return []", tests) == [True]
    assert await verdicts(sandbox, "def f(x): return [1, 0]", tests) == [False]
    assert await verdicts(sandbox, "def f(x): return 5", tests) == [False, False]


async def test_tests_may_import_the_program_and_use_its_names(sandbox: Sandbox) -> None:
    tests = "from solution import f as g\nassert g(1) == f(1) == candidate(1) == TWO\n"
    assert await verdicts(sandbox, RIGHT + "TWO = 2\n", tests) == [True]


async def test_methods_classes_and_dataclasses_work(sandbox: Sandbox) -> None:
    program = """
from dataclasses import dataclass

@dataclass
class P:
    x: int

    def up(self):
        return P(self.x + 1)
"""
    tests = "assert P(1).up() == P(2)\nassert P(1) == P(2)\n"
    assert await verdicts(sandbox, program, tests, "P") == [True, False]


async def test_a_main_guard_and_what_is_printed_play_no_part(sandbox: Sandbox) -> None:
    program = RIGHT + "print('11')\nif __name__ == '__main__':\n    f(input())\n"
    assert await scores(sandbox, [program]) == [1.0]


async def test_the_prompt_of_the_last_user_message_is_completed(sandbox: Sandbox) -> None:
    task = kept()[0]
    asked: list[Message] = [
        {"role": "user", "content": "def f(): ..."},
        {"role": "assistant", "content": "?"},
        {"role": "user", "content": [{"type": "text", "text": task["prompt"]}]},
    ]
    verifier = UnitTests(task["test"], task["entry_point"], sandbox)
    assert all(await verifier.run(asked, task["canonical_solution"]))
    assert not any(await verifier.run(MESSAGES, task["canonical_solution"]))


FAKES = {
    "exits with success": "import sys\ndef f(x): sys.exit(0)",
    "exits at once": "import os\nos._exit(0)",
    "exits in a test": "import os\ndef f(x): os._exit(0)",
    "prints what it takes for the message": "print('1' * 9, flush=True)\ndef f(x): print('0' * 32, '111', flush=True)",
    "writes to every descriptor": (
        "import os\ndef f(x):\n    for fd in range(64):\n        try: os.write(fd, b'0' * 32 + b' 111')\n"
        "        except OSError: pass\n    os._exit(0)"
    ),
    "answers with what equals everything": (
        "class Any:\n    def __eq__(self, other): return True\n    __hash__ = None\ndef f(x): return Any()"
    ),
    "an int that equals everything": (
        "class Any(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\n"
        "def f(x): return Any(9)"
    ),
    "equals all but a plain object": (
        "class Any:\n    def __eq__(self, other): return type(other) is not object\n    __hash__ = None\n"
        "def f(x): return Any()"
    ),
    "equals numbers alone, in a list": (
        "class Any(int):\n    def __eq__(self, other): return isinstance(other, (int, float, list))\n"
        "    __hash__ = int.__hash__\ndef f(x): return Any(9)"
    ),
    "does not raise what fails": "import builtins\nbuiltins.AssertionError = type(None)\ndef f(x): return 9",
    "replaces builtins": (
        "import builtins\nfor name in ('bool', 'all', 'any', 'isinstance', 'map', 'type', 'str', 'object'):\n"
        "    setattr(builtins, name, lambda *_: True)\ndef f(x): return 9"
    ),
    "shadows builtins": "abs = len = bool = lambda *_: 0\n__builtins__ = {}\ndef f(x): return 9",
    "replaces what reports": (
        "import ast, json, os, sys\nos.write = os._exit = os.dup2 = lambda *_: None\nsys.exit = print\n"
        "ast.literal_eval = json.dumps = lambda *_: '1'\ndef f(x): return 9"
    ),
    "replaces main and check": (
        "import __main__, sys\ndef check(candidate): return True\n__main__.check = check\n"
        "__main__.judge = __main__.equal = lambda *_: [True]\ntests = check\ndef f(x): return 9"
    ),
    "traces": "import sys\nsys.settrace(lambda *_: None)\nsys.setprofile(lambda *_: sys.exit(0))\ndef f(x): return 9",
    "raises at the end": (
        "import atexit, os\natexit.register(print, '111')\nclass D:\n    def __del__(self): os._exit(0)\nd = D()\n"
        "def f(x): return 9"
    ),
    "reads its input and arguments": (
        "import os, sys\ntry: said = os.read(0, 9999).decode() + ''.join(sys.argv) + ''.join(os.environ)\n"
        "except OSError: said = ''\nos.write(1, said[:32].encode() + b' 111')\ndef f(x): return 9"
    ),
    "lets a thread end it": (
        "import os, threading\nthreading.Timer(0.01, os._exit, [0]).start()\ndef f(x):\n    while True: pass"
    ),
    "does without recursion": "def f(x): return f(x)",
    "brings tests of its own": "def test_mine(): assert True\nassert True\ncandidate = None\ndef f(x): return 9",
}


@pytest.mark.parametrize("name", FAKES)
async def test_success_cannot_be_faked(name: str, sandbox: Sandbox) -> None:
    (score,) = await scores(sandbox, [FAKES[name]])
    assert score == 0.0


async def test_a_shadowed_builtin_does_not_help_where_tests_use_it(sandbox: Sandbox) -> None:
    tests = "assert abs(f(1) - 2) < 1e-6\nassert len([f(1)]) == 1\nassert isinstance(f(1), int)\n"
    faked = "import builtins\nbuiltins.abs = lambda _: 0\nabs = lambda _: 0\ndef f(x): return 9"
    assert await verdicts(sandbox, faked, tests) == [False, True, True]


@pytest.mark.parametrize(
    ("tests", "entry_point", "sentence"),
    [
        ("", "f", "no assert statement"),
        ("x = 1", "f", "no assert statement"),
        (
            "import unittest\nclass T(unittest.TestCase):\n    def test_f(self): ...",
            "f",
            "no assert statement",
        ),
        ("class TestF:\n    def test_f(self): assert f(1) == 2\nassert True", "f", "class TestF is not run"),
        ("assert f(1) ==", "f", r"invalid syntax \(tests.py, line 1\)"),
        (CHECK, None, "needs an entry_point"),
        ("assert " + "(" * 5000, "f", "cannot be run"),
        ("assert " + "-" * 100_000 + "1", "f", "cannot be run"),
    ],
)
async def test_tests_that_are_none_are_refused_with_the_mend(
    tests: str, entry_point: str | None, sentence: str, sandbox: Sandbox
) -> None:
    with pytest.raises(EngineRefused, match=sentence) as refused:
        await UnitTests(tests, entry_point, sandbox).score(MESSAGES, [response(RIGHT), response("x")])
    assert "scaling.verifier.tests" in str(refused.value)


@pytest.mark.parametrize("tests", ["import os\nos._exit(0)\nassert True", "assert 10 ** 10 ** 8"])
async def test_hostile_tests_pass_nothing(tests: str, sandbox: Sandbox) -> None:
    assert (await UnitTests(tests, "f", sandbox).score(MESSAGES, [response(RIGHT)])).scores == (0.0,)


async def test_programs_that_have_no_time_left_have_no_score() -> None:
    slow = Sandbox(1, Limits(wall_seconds=60.0, cpu_seconds=60))
    endless = "def f(x):\n    while True: pass\n"
    verdict = await UnitTests(CHECK, "f", slow).score(
        MESSAGES, [response(RIGHT), response(endless), response(RIGHT)], seconds=3.0
    )
    assert verdict.scores == (1.0, None, None)
    assert verdict.warnings == ("unit_tests ran 1 of 3 programs in time.",)


async def test_a_cut_off_program_is_wrong_and_not_unknown() -> None:
    impatient = Sandbox(1, Limits(wall_seconds=0.5))
    assert await scores(impatient, ["import time\ntime.sleep(100)\n" + RIGHT]) == [0.0]


async def test_cancelling_ends_every_program(sandbox: Sandbox) -> None:
    endless = [response(f"def f(x):\n    while True: {n}\n") for n in range(5)]
    scoring = asyncio.create_task(UnitTests(CHECK, "f", sandbox).score(MESSAGES, endless))
    await asyncio.sleep(0.2)
    scoring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await scoring
    assert await scores(sandbox, [RIGHT]) == [1.0]


async def test_without_a_sandbox_nothing_runs_and_the_mend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SandboxUnavailable, match="apt-get install bubblewrap"):
        await UnitTests(CHECK, "f", Sandbox()).score(MESSAGES, [response(RIGHT)] * 3)


async def test_an_entry_point_that_is_no_name_is_refused(sandbox: Sandbox) -> None:
    for name in ("f()", "", "f; g", "x" * 1000):
        with pytest.raises(EngineRefused, match=r"scaling\.verifier\.entry_point"):
            await UnitTests(CHECK, name, sandbox).score(MESSAGES, [response(RIGHT)])


async def test_what_ran_keeps_its_score_where_another_program_could_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sandbox = Sandbox(1)
    run = Sandbox.run

    async def fails_once(self: Sandbox, program: str, data: bytes = b"") -> Finished:
        if b"unlucky" in data:
            raise SandboxUnavailable("Too little is free.")
        return await run(self, program, data)

    monkeypatch.setattr(Sandbox, "run", fails_once)
    programs = [response(RIGHT), response(RIGHT + "# unlucky"), response(RIGHT)]
    verdict = await UnitTests(CHECK, "f", sandbox).score(MESSAGES, programs)
    assert verdict.scores == (1.0, None, 1.0)
    assert verdict.warnings == ("unit_tests ran 2 of 3 programs. Too little is free.",)


async def test_no_response_is_no_score(sandbox: Sandbox) -> None:
    assert await scores(sandbox, []) == []


@pytest.mark.parametrize("task", kept(), ids=lambda task: task["task_id"])
async def test_human_eval_solutions_pass_and_broken_ones_do_not(task: Task, sandbox: Sandbox) -> None:
    asked = [{"role": "user", "content": task["prompt"]}]
    whole = f"Here it is:\n\n```python\n{task['prompt']}{task['canonical_solution']}```"
    contents = [task["canonical_solution"], whole, nearly_right(task), "    return None\n", "    pass"]
    verdict = await UnitTests(task["test"], task["entry_point"], sandbox).score(
        asked, [*map(response, contents)]
    )
    right, as_well, *broken = verdict.scores
    assert right == as_well == 1.0
    assert all(score is not None and score < 0.5 for score in broken)


async def test_best_of_n_finds_the_solution_of_a_human_eval_problem(sandbox: Sandbox) -> None:
    for task in kept()[:3]:
        begun, solution = task["prompt"], task["canonical_solution"]
        script = [begun + "    return None\n", "I do not know.", begun + nearly_right(task), begun + solution]
        verifier = UnitTests(task["test"], task["entry_point"], sandbox)
        ran = await run_strategy(BestOfN(), script, Budget(samples=4), verifier=verifier, max_tokens=5000)
        assert ran.texts[0] == script[3]
        assert ran.outcome.candidates[0].score == 1.0
        assert not ran.search.warnings


async def test_repeated_sampling_stops_at_the_first_program_that_passes_every_test(sandbox: Sandbox) -> None:
    task = kept()[0]
    begun = task["prompt"]
    partial = "    return numbers[0] == 1.0 and threshold < 1.5 and len(numbers) > 5\n"
    script = [
        begun + partial,
        begun + nearly_right(task),
        begun + task["canonical_solution"],
        begun,
        begun,
        begun,
        begun,
    ]
    verifier = UnitTests(task["test"], task["entry_point"], sandbox)
    ran = await run_strategy(
        RepeatedSampling(waves=(1,)), script, Budget(samples=5), verifier=verifier, max_tokens=5000
    )
    assert ran.outcome.stopped_because == "accepted"
    first, *others = [c.score for c in ran.outcome.candidates]
    assert first == 1.0
    assert others[0] is not None
    assert 0.0 < others[0] < 0.5
    assert ran.ledger.spent.samples == 3


async def test_where_programs_cannot_run_a_strategy_goes_on_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    verifier = UnitTests(CHECK, "f", Sandbox())
    ran = await run_strategy(BestOfN(), [RIGHT, "x"], Budget(samples=2), verifier=verifier)
    assert [c.score for c in ran.outcome.candidates] == [None, None]
    assert any("apt-get install bubblewrap" in warning for warning in ran.search.warnings)
