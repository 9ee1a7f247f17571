"""What a run's calls cost: at most, before they are made, and really, once they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, TypedDict

import msgspec

from budgets.ledger import NOTHING, Price, unpriced
from budgets.tariff import Charge, Tariff
from strategies.base import Problem
from strategies.journal import Draw
from verifiers.base import Verdict

TEMPLATE_TOKENS: Final = 1024
"""What a verifier's own words around a response come to at most."""
BYTES_A_TOKEN: Final = 8
"""What a generated token's text is taken to hold at most, before it is known."""


@dataclass(frozen=True, slots=True)
class Pricing:
    """The tariffs of the model, of the verifier's and of the embedder's; None where nothing is known or to be paid.

    `learn` is told how long a call took: roofline seconds of its prefill and of its decoding, and those measured.
    """

    generator: Tariff | None = None
    verifier: Tariff | None = None
    embedder: Tariff | None = None
    learn: Callable[[float, float, float], None] | None = None

    def verdict(self, read: float, generated: float, times: float = 1) -> Charge:
        """What verdicts cost that read and generate so many tokens each."""
        return self.verifier.reading(read, times, generated) if self.verifier else NOTHING


UNPRICED: Final = Pricing()


class Room(TypedDict):
    """What a call asks the ledger for; see `Ledger.reserve`."""

    sequences: int
    tokens_each: int
    aside: int
    price: Price
    beside: Price


class Calls:
    """The prices of a run's calls.

    The prompt is computed anew in each call that starts from it, but for what the engine says it had cached. What
    goes on from generated tokens finds all of them cached: the engine has just computed them.
    """

    def __init__(self, pricing: Pricing, problem: Problem) -> None:
        self.pricing = pricing
        self._prompt = len(problem.prompt)
        self._bytes = len(msgspec.json.encode(problem.messages)) if pricing.verifier else 0

    def room(
        self,
        prefixes: Sequence[Sequence[int]],
        n: int,
        max_tokens: int,
        verdict_tokens: int | None,
    ) -> Room:
        """Room for `n` continuations of each prefix, and for a verdict of so many tokens on each; None: for none."""
        return {
            "sequences": len(prefixes) * n,
            "tokens_each": max_tokens,
            "aside": verdict_tokens or 0,
            "price": self.most(prefixes),
            "beside": self.verdicts_on(prefixes, verdict_tokens),
        }

    def most(self, prefixes: Sequence[Sequence[int]]) -> Price:
        """The price of continuing the first of `prefixes`."""
        tariff = self.pricing.generator
        if tariff is None:
            return unpriced
        totals, cached = self._pasts(prefixes), self._cached(prefixes)

        def price(sequences: int, tokens_each: int) -> Charge:
            used = min(sequences, len(totals))
            past = totals[used - 1] / used
            return tariff.charge(self._prompt, [(sequences, tokens_each)], past=past, cached_tokens=cached)

        return price

    def verdicts_on(self, prefixes: Sequence[Sequence[int]], verdict_tokens: int | None) -> Price:
        """The price of a verdict of so many tokens on each continuation of `prefixes`; None: there is none."""
        if verdict_tokens is None or self.pricing.verifier is None:
            return unpriced
        totals = self._pasts(prefixes)

        def price(sequences: int, tokens_each: int) -> Charge:
            used = min(sequences, len(totals))
            return self.verdict(totals[used - 1] / used + tokens_each, verdict_tokens) * sequences

        return price

    def verdict(self, tokens: float, verdict_tokens: int) -> Charge:
        """What a verdict on a response of so many tokens costs at most."""
        return self._verdict(BYTES_A_TOKEN * tokens, verdict_tokens)

    def verdicts(self, texts: Sequence[str]) -> Price:
        """The price of verdicts on the first of `texts`."""
        if self.pricing.verifier is None:
            return unpriced
        largest = list(accumulate(map(_size, texts), max))
        return lambda count, generated: self._verdict(largest[count - 1], generated) * count

    def embedding(self, texts: Sequence[str]) -> Charge | None:
        """What embedding these texts costs at most; None where that is not known."""
        if self.pricing.embedder is None:
            return None
        return self.pricing.embedder.reading(max(map(_size, texts), default=0), len(texts))

    def embedded(self, read: int, texts: int) -> Charge:
        """What embedding so many texts cost."""
        return (
            self.pricing.embedder.reading(read / texts, texts) if self.pricing.embedder and texts else NOTHING
        )

    def judged(self, verdict: Verdict, texts: int) -> Charge:
        """What a verifier's call cost."""
        return self.pricing.verdict(verdict.read / texts, verdict.generated / texts, texts)

    def _pasts(self, prefixes: Sequence[Sequence[int]]) -> list[int]:
        """The tokens that the first, the first two … of `prefixes` hold beyond the prompt."""
        return list(accumulate(len(prefix) - self._prompt for prefix in prefixes))

    def _cached(self, prefixes: Sequence[Sequence[int]]) -> int:
        """What of the prompt is cached for sure: all of it where every prefix goes on from generated tokens."""
        return self._prompt if all(len(prefix) > self._prompt for prefix in prefixes) else 0

    def _verdict(self, size: float, generated: int) -> Charge:
        """A token is a byte of text at least; a verdict that is generated may be asked for twice."""
        read = self._bytes + size + TEMPLATE_TOKENS
        return self.pricing.verdict(read, generated, 2 if generated else 1)

    def settled(
        self, draw: Draw, prefixes: Sequence[Sequence[int]], sequences: int, seconds: float | None
    ) -> Charge:
        """What a call cost. The `seconds` that it took are learned from, where it went as calls do."""
        tariff = self.pricing.generator
        if tariff is None or not draw.tokens:
            return NOTHING
        past = sum(map(len, prefixes)) / len(prefixes) - self._prompt
        cached = self._cached(prefixes)
        if not cached:
            cached = min(self._prompt, draw.usage.cached_tokens or 0)
        workload = tariff.workload(self._prompt, _lengths(draw, sequences), past=past, cached_tokens=cached)
        whole = draw.failure is None and not draw.cut_short and len(draw.drawn) == sequences
        if self.pricing.learn and seconds is not None and whole:
            self.pricing.learn(*tariff.roofline(workload), seconds)
        return tariff.price(workload)


def _size(text: str) -> int:
    """Bytes of a text, of which a token is one at least."""
    return len(text.encode(errors="surrogatepass"))


def _lengths(draw: Draw, sequences: int) -> list[tuple[int, int]]:
    """The lengths of a call's sequences. What unfinished ones generated is taken to be by as few as could."""
    lengths = [(1, len(drawn.sample.tokens)) for drawn in draw.drawn]
    rest, missing = draw.tokens - sum(tokens for _, tokens in lengths), sequences - len(lengths)
    if rest > missing * draw.max_tokens:
        return [(sequences, draw.max_tokens)]
    whole, part = divmod(max(0, rest), max(1, draw.max_tokens))
    lengths += [
        (count, tokens) for count, tokens in ((whole, draw.max_tokens), (1, part)) if count and tokens
    ]
    return lengths
