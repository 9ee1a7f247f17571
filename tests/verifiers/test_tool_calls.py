import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.tool_calls import ToolCall, parse_tool_calls

PARIS = ToolCall("weather", {"city": "Paris"})
ROME = ToolCall("weather", {"city": "Rome"})
ONE = '{"name": "weather", "arguments": {"city": "Paris"}}'
TWO = '{"name": "weather", "parameters": {"city": "Rome"}}'


@pytest.mark.parametrize(
    ("text", "content", "calls"),
    [
        (f"<tool_call>\n{ONE}\n</tool_call>", "", (PARIS,)),
        (
            f"Let me look.\n<tool_call>{ONE}</tool_call>\n<tool_call>{TWO}</tool_call>",
            "Let me look.",
            (PARIS, ROME),
        ),
        (f"<tool_call>{ONE}", "", (PARIS,)),
        (f"[TOOL_CALLS] [{ONE}, {TWO}]", "", (PARIS, ROME)),
        ('[TOOL_CALLS]weather{"city": "Paris"}', "", (PARIS,)),
        ('[TOOL_CALLS]weather[ARGS]{"city": "Paris"}', "", (PARIS,)),
        (f"<|python_tag|>{ONE}; {TWO}<|eom_id|>", "", (PARIS, ROME)),
        (ONE, "", (PARIS,)),
        (f" [{ONE}, {TWO}]\n", "", (PARIS, ROME)),
        (f'{{"type": "function", "function": {ONE}}}', "", (PARIS,)),
        ('{"name": "weather", "arguments": "{\\"city\\": \\"Paris\\"}"}', "", (PARIS,)),
        ('{"name": "now", "arguments": {}}', "", (ToolCall("now", {}),)),
    ],
)
def test_the_common_templates_are_read(text: str, content: str, calls: tuple[ToolCall, ...]) -> None:
    assert parse_tool_calls(text) == (content, calls)


@pytest.mark.parametrize(
    "text",
    [
        "It is sunny.",
        '{"city": "Paris"}',
        '{"name": "Ada"}',
        '{"name": 4, "arguments": {}}',
        '{"name": "f", "arguments": [1]}',
        '<tool_call>{"name": "f", "arguments": {"x": NaN}}</tool_call>',
        '<tool_call>{"name": "f", "argum',
        "[1, 2]",
        "[]",
        "",
    ],
)
def test_what_is_no_call_stays_in_the_text(text: str) -> None:
    assert parse_tool_calls(text) == (text, ())


@given(st.text(st.characters(exclude_categories=())) | st.text('<tool_ca>/[TOOL_CALLS]{}":name,arguments '))
def test_any_text_is_read_without_error(text: str) -> None:
    content, calls = parse_tool_calls(text)
    assert calls or content == text.strip()


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "piece",
    [
        "<tool_call>",
        "<tool_call>{",
        "[TOOL_CALLS][1,",
        "<|python_tag|>[",
        "[TOOL_CALLS]a",
        f"<tool_call>{ONE}",
    ],
)
def test_a_megabyte_of_anything_is_read_in_linear_time(piece: str) -> None:
    parse_tool_calls(piece * (1_000_000 // len(piece)))
