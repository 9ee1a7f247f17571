import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.programs import programs

PROMPT = 'from typing import List\n\n\ndef f(xs: List[int]) -> int:\n    """The sum.\n    >>> f([1])\n    1\n    """\n'
CODE = "def f(xs):\n    return sum(xs)\n"


def meant(content: str, prompt: str = "", entry_point: str | None = "f") -> str:
    """The first reading that compiles."""
    for program in programs(content, prompt, entry_point):
        try:
            compile(program, "", "exec")
        except SyntaxError:
            continue
        return program
    return ""


def result(program: str) -> object:
    space: dict[str, object] = {}
    exec(program, space)
    return space["f"]([1, 2])  # type: ignore[operator]


@pytest.mark.parametrize(
    "content",
    [
        CODE,
        f"```python\n{CODE}```",
        f"Here it is:\n\n```python\n{CODE}```\nIt adds up.",
        f"```py\n{CODE}```",
        f"```Python3 title=x\n{CODE}```",
        f"```\n{CODE}```",
        f"~~~python\n{CODE}~~~",
        f"````python\n{CODE}````",
        f"1. So:\n   ```python\n{CODE}   ```",
        f"```python\n{CODE}",
        f"```bash\npip install f\n```\n```python\n{CODE}```\n```\n3\n```",
        f"```python\ndef f(xs):\n    return 0\n```\nBetter:\n```python\n{CODE}```",
        f"```python\n{CODE}```\nUse it:\n```python\nprint(f(input()))\n```",
        f"```text\ndef f is what follows\n```\n```python\n{CODE}```",
        "```python\nasync def g(): ...\nf = sum\n```",
        "```python\nclass f(int):\n    def __new__(cls, xs): return sum(xs)\n```",
    ],
)
def test_the_program_is_found(content: str) -> None:
    assert result(meant(content)) == 3


def test_without_an_entry_point_all_blocks_are_the_program() -> None:
    content = f"```python\nimport math\n```\nand\n```python\n{CODE}```\nwhich prints\n```\n3\n```"
    assert programs(content, PROMPT, None) == (f"import math\n\n{CODE}",)


@pytest.mark.parametrize("content", ["", " \n", "```python\n```", "```bash\nls\n```"])
def test_no_code_is_no_program(content: str) -> None:
    assert programs(content, PROMPT, "f") == ()


@pytest.mark.parametrize(
    "body",
    [
        "    total = 0\n    for x in xs:\n        total += x\n    return total\n",
        "total = 0\n    for x in xs:\n        total += x\n    return total\n",
        "total = 0\nfor x in xs:\n    total += x\nreturn total\n",
        "    return sum(xs)",
        "return sum(xs)",
        "```python\n    return sum(xs)\n```",
    ],
)
@pytest.mark.parametrize(
    "prompt",
    [PROMPT, f"Complete this.\n\n{PROMPT}", f"Complete this:\n```python\n{PROMPT}```\nGive the body only."],
)
def test_a_body_completes_the_function_that_the_prompt_began(body: str, prompt: str) -> None:
    assert result(meant(body, prompt)) == 3


def test_imports_and_helpers_of_the_prompt_are_there_for_a_whole_function_too() -> None:
    prompt = "import math\n\ndef helper(x):\n    return math.floor(x)\n\n\n" + PROMPT
    content = "```python\ndef f(xs: List[int]):\n    return helper(sum(xs) + 0.5)\n```"
    assert result(meant(content, prompt)) == 3


def test_a_prompt_that_is_no_code_by_itself_is_left_out() -> None:
    assert result(meant(CODE, "Write def f(xs): and let it add up.")) == 3
    assert result(meant(CODE, "def f(xs):")) == 3


@given(st.text(alphabet="`~ \n\tpyf=def():x"), st.text(alphabet="`~ \ndef f():"), st.none() | st.text())
def test_any_text_is_read(content: str, prompt: str, entry_point: str | None) -> None:
    readings = programs(content, prompt, entry_point)
    assert all(isinstance(reading, str) for reading in readings)
    assert len(readings) <= 4
