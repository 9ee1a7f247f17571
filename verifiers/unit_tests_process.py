"""What `unit_tests.py` runs in the sandbox: a program, then tests of it, then one message about how they went.

Standard input is a Python dictionary (JSON would take longer to load): `token`, `programs` (the first that compiles is
meant), `tests`, `entry_point`. Standard output is `token`, a space, and one digit a test (1: passed), or `!` and what
is wrong with the tests.

The program and its tests share this process, so everything that judges is fixed before the program runs: the tests see
builtins as they were, output and exit go through functions held here, and no message means that nothing passed.
"""

from __future__ import annotations

import ast
import builtins
import os
import sys
from collections.abc import Callable
from types import CodeType, CoroutineType, ModuleType

BUILTINS = dict(vars(builtins))
# What the functions below use: what the program replaces, it does not replace for them.
__builtins__ = BUILTINS  # type: ignore[assignment]

NOTE, EQUAL = " note", " equal"
"""Names that no source can mention."""

APART = (ast.Try, ast.TryStar, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
PLAIN = (bool, int, float, complex, str, bytes, bytearray, type(None), range)


class Tests:
    """Compiled tests: the numbers of the assert statements at the top and in `check`, and the test functions.

    `whole` is 1 where what stands at the top is a test even if it reaches no assert: a call of `check`, say.
    """

    def __init__(
        self, code: CodeType, top: range, check: range | None, functions: list[str], whole: int
    ) -> None:
        self.code = code
        self.top = top
        self.check = check
        self.functions = functions
        self.whole = whole


class Notes:
    """What came of each assert statement; one that failed once has failed."""

    def __init__(self) -> None:
        self.passed: dict[int, bool] = {}

    def note(self, number: int, passed: object) -> None:
        self.passed[number] = bool(passed) and self.passed.get(number, True)

    def run(self, work: Callable[[], object], numbers: range, whole: int = 0) -> list[bool]:
        """Runs `work`, and says how its asserts went: those it reached where it ended, else all and its own failure.

        `whole`: how many tests it is where it ends without having reached an assert.
        """
        try:
            work()
        except:  # noqa: E722  a program may raise SystemExit in a test
            return [*(self.passed.get(number, False) for number in numbers), False]
        return [self.passed[number] for number in numbers if number in self.passed] or [True] * whole


class Asserts(ast.NodeTransformer):
    """Turns each assert into a note of its own, so that one that fails does not end the others."""

    def __init__(self) -> None:
        self.count = 0

    def visit_Assert(self, assertion: ast.Assert) -> ast.stmt:
        (noted,) = ast.parse("try: note(0, None)\nexcept: note(0, False)").body
        calls = [node for node in ast.walk(noted) if isinstance(node, ast.Call)]
        for call in calls:
            call.func = ast.Name(NOTE, ast.Load())
            call.args[0] = ast.Constant(self.count)
        calls[0].args[1] = assertion.test
        self.count += 1
        return ast.copy_location(noted, assertion)

    def body(self, statements: list[ast.stmt]) -> tuple[list[ast.stmt], range]:
        first = self.count
        return [self.visit(statement) for statement in statements], range(first, self.count)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Leaves alone what catches its exceptions itself, and what runs at another time."""
        return node if isinstance(node, APART) else super().generic_visit(node)


class Equalities(ast.NodeTransformer):
    """Turns `a == b` into a comparison that an object equal to everything does not win."""

    def visit_Compare(self, comparison: ast.Compare) -> ast.expr:
        self.generic_visit(comparison)
        if len(comparison.ops) != 1 or not isinstance(comparison.ops[0], ast.Eq):
            return comparison
        sides = [comparison.left, comparison.comparators[0]]
        return ast.copy_location(ast.Call(ast.Name(EQUAL, ast.Load()), sides, []), comparison)


def equal(left: object, right: object) -> bool:
    """`left == right`, but what is compared with a plain value has no say of its own in it."""
    for plain, other in ((left, right), (right, left)):
        if type(plain) in PLAIN and type(other) not in PLAIN and not is_number(other):
            return type(plain).__eq__(plain, other) is True
    kind = type(left)
    if kind is type(right) and kind in (list, tuple):
        return len(left) == len(right) and all(map(equal, left, right))  # type: ignore[arg-type, call-overload]
    if kind is type(right) is dict:
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)  # type: ignore[attr-defined, index]
    return bool(left == right) and not equals_anything(left) and not equals_anything(right)


def is_number(value: object) -> bool:
    """Whether this is one of the standard library's numbers, which know when they equal an int."""
    return any(
        getattr(sys.modules.get(module), name, None) is type(value)
        for module, name in (("decimal", "Decimal"), ("fractions", "Fraction"))
    )


def equals_anything(value: object) -> bool:
    kind = type(value)
    if kind in PLAIN:
        return False
    if kind in (list, tuple, set, frozenset):
        return any(map(equals_anything, value))  # type: ignore[call-overload]
    if kind is dict:
        return any(map(equals_anything, value.values()))  # type: ignore[attr-defined]
    return bool(value == object())


def read_tests(source: str, entry_point: str | None) -> Tests:
    """Raises ValueError with what is wrong, or whatever the parser raises."""
    tree = Equalities().visit(ast.parse(source, "tests.py"))
    asserts = Asserts()
    check = None
    functions = []
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef) and statement.name.startswith("Test"):
            raise ValueError(f"the class {statement.name} is not run; write its tests as functions test_…")
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if statement.name.startswith("test_"):
                functions.append(statement.name)
            elif statement.name == "check" and entry_point is not None:
                statement.body, check = asserts.body(statement.body)
    tree.body, top = asserts.body(tree.body)
    whole = bool(top) or not (functions or check is not None)
    if whole and not top and not any(map(is_call, tree.body)):
        defined = any(isinstance(node, ast.FunctionDef) and node.name == "check" for node in tree.body)
        raise ValueError(
            "check(candidate) needs an entry_point, the name of what it checks"
            if defined
            else "they hold no assert statement, no function test_… and no check(candidate)"
        )
    code = compile(ast.fix_missing_locations(tree), "tests.py", "exec", dont_inherit=True)
    return Tests(code, top, check, functions, int(whole))


def is_call(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)


def load(programs: list[str]) -> ModuleType | None:
    """The program's module, run; None where none compiles or it raised."""
    module = ModuleType("solution")
    sys.modules["solution"] = sys.modules["__main__"] = module
    for program in programs:
        try:
            code = compile(program, "solution.py", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, OverflowError, MemoryError, RecursionError):
            continue
        try:
            exec(code, module.__dict__)
        except:  # noqa: E722  SystemExit too
            return None
        return module
    return None


def judge(module: ModuleType, tests: Tests, entry_point: str | None) -> list[bool]:
    notes = Notes()
    names = vars(module)
    if entry_point is not None and entry_point not in names:
        return [False]
    # Nothing of the program's may stand before a builtin that the tests use.
    seen = {name: value for name, value in names.items() if name not in BUILTINS or name == entry_point}
    judging = {"__name__": "tests", "__builtins__": BUILTINS, NOTE: notes.note, EQUAL: equal}
    space = {**seen, **judging}
    if entry_point is not None:
        space["candidate"] = names[entry_point]
    went = notes.run(lambda: exec(tests.code, space), tests.top, tests.whole)
    if tests.check is not None:
        went += notes.run(lambda: space["check"](space["candidate"]), tests.check, 1)
    for name in tests.functions:
        went += notes.run(lambda name=name: finish(space[name]()), range(0), 1)  # type: ignore[misc]
    return went


def finish(result: object) -> None:
    if isinstance(result, CoroutineType):
        import asyncio  # rarely needed, and slow to load

        asyncio.run(result)


def main() -> None:
    write, leave, clear = os.write, os._exit, (sys.settrace, sys.setprofile)
    asked = ast.literal_eval(sys.stdin.read())
    token, entry_point = asked["token"], asked["entry_point"]
    out = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    try:
        tests = read_tests(asked["tests"], entry_point)
    except (SyntaxError, ValueError, OverflowError, MemoryError, RecursionError) as error:
        write(out, f"{token} !{error}".encode(errors="replace"))
        leave(0)
    module = load(asked["programs"])
    for function in clear:
        function(None)
    went = [False] if module is None else judge(module, tests, entry_point)
    write(out, f"{token} {''.join('1' if passed else '0' for passed in went)}".encode())
    leave(0)


if __name__ == "__main__":
    main()
