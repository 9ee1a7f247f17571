"""A small world for stepwise searches: what follows a path is written down by the path's own text."""

from collections.abc import Callable, Mapping, Sequence

from engines.scripted import ScriptedEngine

PROMPT = "".join(map(chr, (1, 2, 3)))
"""The text of the prompt that tests/strategies/bench.py uses."""


def branching(follow: Mapping[str, Sequence[str]] | Callable[[str], Sequence[str]]) -> ScriptedEngine:
    """An engine whose samples continue a path by what `follow` holds for its text, in turn, round and round.

    Steps end in a blank line; a text without one ends the response.
    """
    look = follow if callable(follow) else follow.__getitem__

    def script(prompt: str):
        while True:
            yield from look(prompt.removeprefix(PROMPT))

    return ScriptedEngine(script)


def events(ran, name: str) -> list[dict]:
    return [event for event in ran.search.trace if event["event"] == name]
