"""Finds, in the source of a module, functions that change what the module holds, and caches that may grow."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

CHANGING = re.compile(
    "add|append(left)?|clear|discard|extend|insert|pop(item|left)?|remove|reverse|setdefault|sort|"
    "(difference_|intersection_)?update"
)
"""Methods that change a list, a dict, a set or a deque."""

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def changes(source: str) -> Iterator[str]:
    """A line for each place where a function binds, or changes, what a name of the module or its class stands for."""
    tree = ast.parse(source)
    shared = {name for node in tree.body for name in _bound(node)} | {"cls"}
    modules = {
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    for function in _functions(tree):
        yield from _changes(function, shared, modules)


def unbounded_caches(source: str) -> Iterator[str]:
    """The functions with a functools cache that has no bound, or that keeps the object it is a method of."""
    tree = ast.parse(source)
    methods = {id(f) for c in ast.walk(tree) if isinstance(c, ast.ClassDef) for f in c.body}
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in function.decorator_list:
                called = decorator.func if isinstance(decorator, ast.Call) else decorator
                name = ast.unparse(called).rpartition(".")[2]
                no_limit = isinstance(decorator, ast.Call) and "None" in ast.unparse(decorator)
                if name == "cache" or (name == "lru_cache" and (no_limit or id(function) in methods)):
                    yield function.name


def _functions(tree: ast.AST) -> Iterator[Function]:
    """The outermost functions, and the methods of the outermost classes."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function):
            yield node
        else:
            yield from _functions(node)


def _changes(function: Function, shared: set[str], modules: set[str]) -> Iterator[str]:
    own = set() if isinstance(function, ast.Lambda) else {n for part in function.body for n in _bound(part)}
    own |= {a.arg for a in ast.walk(function.args) if isinstance(a, ast.arg)} - {"cls"}
    declared = {name for node in ast.walk(function) if isinstance(node, ast.Global) for name in node.names}
    seen = shared - (own - declared)
    for node in _inside(function):
        if isinstance(node, Function):
            yield from _changes(node, seen, modules)
        elif isinstance(node, ast.Global):
            yield f"{node.lineno}: global {', '.join(node.names)}"
        elif (changed := _changed(node, modules)) and _root(changed) in seen:
            yield f"{node.lineno}: {ast.unparse(node)[:80]}"


def _changed(node: ast.AST, modules: set[str]) -> ast.expr | None:
    """What a statement or a call changes, beyond a name of its own; `os.remove(path)` changes no module."""
    if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
        return node.value
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and CHANGING.fullmatch(node.func.attr)
    ):
        of = node.func.value
        return None if isinstance(of, ast.Name) and of.id in modules else of
    return None


def _root(node: ast.expr) -> str | None:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def _inside(function: Function) -> Iterator[ast.AST]:
    """All of a function but what is inside the functions within it."""
    waiting = list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, Function):
            waiting += ast.iter_child_nodes(node)


def _bound(node: ast.AST) -> Iterator[str]:
    """The names that a statement binds in the scope it stands in."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        yield node.name
    if not isinstance(node, Function | ast.ClassDef):
        for part in ast.iter_child_nodes(node):
            yield from _bound(part)
