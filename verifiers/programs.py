"""The program in a response: a fenced block of Markdown, plain code, or the rest of a function the prompt began."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_PYTHON: Final = ("python", "python3", "py")
_FENCE: Final = re.compile(r"[ \t]*(`{3,}|~{3,})[ \t]*([^\s`{]*)")
_CODE_BEGINS: Final = re.compile(
    r"^(?:from[ \t]+[\w.]+[ \t]+import\b|import[ \t]+\w|@\w|(?:async[ \t]+)?def[ \t]|class[ \t]+\w+[ \t]*[:(])",
    re.MULTILINE,
)
_INDENT: Final = "    "


@dataclass(frozen=True, slots=True)
class _Block:
    language: str
    code: str


def programs(content: str, prompt: str, entry_point: str | None) -> tuple[str, ...]:
    """The ways to read `content` as a program, likeliest first: the first that compiles is meant. Empty for no code.

    Of fenced blocks it is the last Python one that defines `entry_point`, else all of them together; without blocks,
    the whole text. Where `prompt` defines `entry_point` (HumanEval: signature and docstring), its code goes before, so
    that imports and helpers are there, and a response that is only the function's body completes it.
    """
    defines = _definition(entry_point) if entry_point else None
    code = _code(content, defines)
    if not code.strip():
        return ()
    begun = _code(prompt, defines) if defines and defines.search(prompt) else ""
    if not begun or defines is None:
        return (code,)
    begun = begun[begins.start() if (begins := _CODE_BEGINS.search(begun)) else 0 :].rstrip("\n") + "\n"
    if defines.search(code):
        return (begun + code, code)
    indented = "".join(_INDENT + line for line in code.splitlines(keepends=True))
    # As it is; without the indent of its first line, which servers may strip; without any.
    return (begun + code, begun + _INDENT + code.lstrip(), begun + indented, code)


def _definition(name: str) -> re.Pattern[str]:
    name = re.escape(name)
    return re.compile(
        rf"^[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+{name}\b|^{name}[ \t]*=(?!=)", re.MULTILINE
    )


def _code(text: str, defines: re.Pattern[str] | None) -> str:
    blocks = list(_blocks(text))
    if not blocks:
        return text
    python = [block for block in blocks if block.language in _PYTHON]
    candidates = python or [block for block in blocks if not block.language]
    defining = [block.code for block in candidates if defines and defines.search(block.code)]
    return defining[-1] if defining else "\n".join(block.code for block in candidates)


def _blocks(text: str) -> Iterator[_Block]:
    """Fenced blocks; one that is never closed goes to the end."""
    fence, language = "", ""
    lines: list[str] = []
    for line in text.splitlines(keepends=True):
        mark = _FENCE.match(line)
        if not fence:
            if mark:
                fence, language, lines = mark[1], mark[2].casefold(), []
        elif mark and mark[1].startswith(fence) and not mark[2]:
            yield _Block(language, "".join(lines))
            fence = ""
        else:
            lines.append(line)
    if fence:
        yield _Block(language, "".join(lines))
