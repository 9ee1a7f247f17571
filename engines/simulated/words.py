"""The simulated model's language: a token is a byte, a word, a number or a mark; clauses make up a step's length."""

from __future__ import annotations

import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain, groupby, pairwise
from typing import Final

from engines.base import Message

Tokens = tuple[int, ...]

SEPARATOR: Final = "\n\n"
MARK: Final = "[simulated]"
"""What every response begins with."""

_KINDS: Final[Mapping[str, Sequence[str]]] = {
    kind: words.split()
    for kind, words in {
        "opener": "adding balancing checking combining comparing counting dividing expanding grouping halving "
        "matching measuring moving ordering reading reducing sharing solving splitting taking tracing weighing",
        "the": "the",
        "adjective": "common equal even final first given inner larger last left lower missing next odd other outer "
        "remaining right second simple single smaller third upper usual whole",
        "noun": "amount angle area balance batch bound case chain corner count cycle difference edge factor figure "
        "group half height interval length limit line list measure number order pair part path pattern piece point "
        "price product quarter rate ratio remainder row rule share side square sum table term total unit value weight "
        "width",
        "preposition": "above across against along among before below beside beyond by for from in of over under with",
    }.items()
}
APPROACHES: Final = ((" we", " get"), (" this", " gives"), (" that", " leaves"), (" which", " makes"))
"""How a step leads to its number: one of four ways, part of what the step means."""

BYTES: Final = 256
EOS, USER, ASSISTANT, SYSTEM, TOOL, END = range(BYTES, BYTES + 6)
NUMBERS: Final = 1000
_WORDS = sorted(
    {f" {word}" for word in (*chain.from_iterable(_KINDS.values()), "Step", "So", "answer", "is")}
    | {word for approach in APPROACHES for word in approach}
    | {"Step", "So", ",", ".", ":", SEPARATOR, MARK}
)
_NUMBER = END + 1 + len(_WORDS)
_TEXTS = [*[""] * (END + 1), *_WORDS, *(f" {number}" for number in range(NUMBERS))]
_IDS = {text: token for token, text in enumerate(_TEXTS) if text}
_PIECES = re.compile(r"\[simulated\]|\n\n| ?[A-Za-z]+| ?[0-9]+|.", re.DOTALL)

VOCABULARY: Final = len(_TEXTS)
SEP, COMMA, STOP, MARKED = _IDS[SEPARATOR], _IDS[","], _IDS["."], _IDS[MARK]
_ROLES = {"system": SYSTEM, "developer": SYSTEM, "assistant": ASSISTANT, "tool": TOOL}


def encode(text: str) -> Tokens:
    """The tokens of `text`: words of the world as one token each, anything else as its UTF-8 bytes."""
    tokens: list[int] = []
    for piece in _PIECES.findall(text):
        token = _IDS.get(piece)
        if token is None:
            tokens += piece.encode("utf-8", "replace")
        else:
            tokens.append(token)
    return tuple(tokens)


def decode(tokens: Sequence[int]) -> str:
    """The text of `tokens`, special ones left out; bytes that are no UTF-8 are replaced."""
    if min(tokens, default=BYTES) >= BYTES:
        return "".join([_TEXTS[token] for token in tokens])
    runs = groupby(tokens, lambda token: token < BYTES)
    return "".join(
        bytes(run).decode("utf-8", "replace") if raw else "".join(_TEXTS[token] for token in run)
        for raw, run in runs
    )


def render(messages: Sequence[Message], *, generation: bool = True) -> Tokens:
    """The chat template: each message's role, text and end; for `generation` the assistant's mark comes last."""
    tokens: list[int] = []
    for message in messages:
        content = message.get("content") or ""
        if not isinstance(content, str):
            content = "".join(str(part.get("text", "")) for part in content)
        tokens += (_ROLES.get(message.get("role", ""), USER), *encode(content), END)
    return (*tokens, ASSISTANT) if generation else tuple(tokens)


def word(text: str) -> int:
    """The token of one word of the world."""
    return _IDS[text]


def number_token(number: int) -> int:
    """The token of " NUMBER", 0 to 999."""
    return _NUMBER + number


def token_number(token: int) -> int | None:
    """The number that a token is, None where it is none."""
    return token - _NUMBER if token >= _NUMBER else None


class ClauseBank:
    """`SIZE` clauses, each a few words and a comma, `shortest` to `longest` tokens long, drawn by `seed`.

    No clause but a whole one holds a comma, so that where one ends can be seen from its tokens.
    """

    SIZE: Final = 1024

    def __init__(self, shortest: int, longest: int, seed: int) -> None:
        rng = random.Random(seed)
        self.clauses: list[Tokens] = [_clause(rng.randint(shortest, longest), rng) for _ in range(self.SIZE)]

    def rest(self, begun: Tokens, bits: int) -> Tokens:
        """The end of a clause that begins so, as likely as when drawn whole; the comma alone where none does."""
        if not begun:
            return self.clauses[bits % self.SIZE]
        ends = self._ends.get(begun)
        return ends[bits % len(ends)] if ends else (COMMA,)

    def logprobs(self, said: Tokens) -> list[float]:
        """The log-probability of each token of a clause, whole or begun; 0 from where it is none of the bank's."""
        shares = [self._begun.get(said[:i], 0) for i in range(len(said) + 1)]
        return [math.log(b / a) if b else 0.0 for a, b in pairwise(shares)]

    @cached_property
    def _begun(self) -> Counter[Tokens]:
        return Counter(clause[:i] for clause in self.clauses for i in range(len(clause) + 1))

    @cached_property
    def _ends(self) -> dict[Tokens, list[Tokens]]:
        ends: dict[Tokens, list[Tokens]] = defaultdict(list)
        for clause in self.clauses:
            for i in range(1, len(clause)):
                ends[clause[:i]].append(clause[i:])
        return dict(ends)


def _clause(length: int, rng: random.Random) -> Tokens:
    """ " counting the first part of the sum," in `length` tokens, 3 or more."""
    words = [rng.choice(_KINDS["opener"]), *_noun_phrase(length - 2, rng)]
    return (*(_IDS[f" {text}"] for text in words), COMMA)


def _noun_phrase(length: int, rng: random.Random) -> Iterable[str]:
    short = {1: ["noun"], 2: ["the", "noun"], 3: ["the", "adjective", "noun"]}
    kinds: list[str] = []
    while length > 3:
        head = short[2 if length == 4 else 3]
        kinds += [*head, "preposition"]
        length -= len(head) + 1
    kinds += short[length]
    return [rng.choice(_KINDS[kind]) for kind in kinds]
