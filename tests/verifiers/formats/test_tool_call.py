from verifiers.formats.tool_call import ToolCallAnswers

PARIS = '<tool_call>{"name": "weather", "arguments": {"city": "Paris", "days": 1.0, "id": 7}}</tool_call>'
SAME = '{"name": "weather", "parameters": {"id": 8, "days": 1, "city": "Paris"}}'
ROME = '[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Rome"}}]'
TIME = '<|python_tag|>{"name": "time", "parameters": {}}'


async def test_calls_are_equal_where_names_and_arguments_are() -> None:
    answers = ToolCallAnswers()
    paris, same, rome, words = await answers.canonical([PARIS, SAME, ROME, "It is sunny."])
    assert paris == '{"arguments":{"city":"Paris","days":1,"id":7},"name":"weather"}'
    assert len({paris, same, rome}) == 3
    assert words is None


async def test_excluded_arguments_make_no_difference() -> None:
    answers = ToolCallAnswers(frozenset({"id"}))
    paris, same = await answers.canonical([PARIS, SAME])
    assert paris == same
    assert await answers.matches([paris, None], SAME) == [True, False]


async def test_votes_are_grouped_by_the_names_called() -> None:
    answers = ToolCallAnswers()
    called = await answers.canonical([PARIS, ROME, TIME, PARIS + TIME])
    groups = [answers.group(answer) for answer in called if answer]
    assert groups == ['["weather"]', '["weather"]', '["time"]', '["weather","time"]']


async def test_an_answer_reads_as_itself() -> None:
    answers = ToolCallAnswers()
    first = await answers.canonical([PARIS, PARIS + TIME])
    assert await answers.canonical([answer or "" for answer in first]) == first
