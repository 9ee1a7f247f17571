"""What is asked of a model: prompt, generated tokens, samples or a search's depths, and how attention is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from budgets.checks import check_number

if TYPE_CHECKING:
    from budgets.models import ModelShape


@dataclass(frozen=True, slots=True)
class Dense:
    """Every token attends to all positions before it."""


@dataclass(frozen=True, slots=True)
class TopK:
    """A generated token attends to the `budget` positions that matter most; to find them costs nothing."""

    budget: int

    def __post_init__(self) -> None:
        check_number("budget", self.budget, least=1, whole=True)


@dataclass(frozen=True, slots=True)
class BlockTopK:
    """A generated token attends to the last `local` positions and to `topk` blocks of `block_size`, found by comparing
    its query with one key a block."""

    local: int
    block_size: int
    topk: int

    def __post_init__(self) -> None:
        check_number("local", self.local, whole=True)
        check_number("block_size", self.block_size, least=1, whole=True)
        check_number("topk", self.topk, whole=True)
        if not self.budget:
            raise ValueError("local and topk cannot both be 0: nothing would be attended to")

    @property
    def budget(self) -> int:
        """Positions attended to."""
        return self.local + self.block_size * self.topk


Attention = Dense | TopK | BlockTopK
DENSE = Dense()


@dataclass(frozen=True, slots=True)
class Depth:
    """One depth of a search: `paths` live ones, each going on by `tokens` (a mean).

    `kept`: positions past the prompt that the live paths hold in the KV cache at its end, those shared by several
    counted once; left out: as if none were shared.
    """

    paths: float
    tokens: float
    kept: float | None = None

    def __post_init__(self) -> None:
        check_number("paths", self.paths, least=1)
        check_number("tokens", self.tokens)
        if self.kept is not None:
            check_number("kept", self.kept)


@dataclass(frozen=True, slots=True)
class Run:
    """Decode steps in a row: `paths` sequences, the first step at `first` positions past the prompt, itself counted."""

    paths: float
    first: float
    steps: float


@dataclass(frozen=True, slots=True)
class Verification:
    """What a verifier that is a model does with a request's samples: `workload` on `shape`.

    A model that reads and generates nothing has `output_tokens` 0.
    """

    shape: ModelShape
    workload: Workload


@dataclass(frozen=True, slots=True)
class Workload:
    """One request. Counts are means and need not be whole.

    `samples` of `output_tokens` each; with `tree`, a search's depths in their stead (see `search`).
    `share_prompt`: its KV is computed, stored and read in a decode step once for all samples, else for each.
    `cached_tokens` of the prompt lie in the prefix cache already and are not computed again. `past`: positions past the
    prompt that each path holds in the cache when it goes on from there. `concurrency`: requests like this one that run
    at once and share the reading of weights. Raises ValueError, naming the field.
    """

    prompt_tokens: float
    output_tokens: float
    samples: float = 1
    attention: Attention = DENSE
    share_prompt: bool = True
    concurrency: float = 1
    cached_tokens: float = 0
    verifier: Verification | None = None
    tree: tuple[Depth, ...] = ()
    past: float = 0

    def __post_init__(self) -> None:
        check_number("prompt_tokens", self.prompt_tokens)
        check_number("output_tokens", self.output_tokens)
        check_number("samples", self.samples, least=1)
        check_number("concurrency", self.concurrency, least=1)
        check_number("cached_tokens", self.cached_tokens, most=self.prompt_tokens)
        check_number("past", self.past)

    @classmethod
    def search(
        cls,
        prompt_tokens: float,
        depths: Sequence[Depth],
        *,
        attention: Attention = DENSE,
        share_prompt: bool = True,
        concurrency: float = 1,
        cached_tokens: float = 0,
        verifier: Verification | None = None,
        past: float = 0,
    ) -> Workload:
        """A search: `output_tokens` is then a path's length, `samples` the width of the widest depth.

        Every live path reads the KV of all its own steps, also of those that it shares with others: engines share
        what is stored, not what is read. Only the prompt is read once. Raises ValueError without depths.
        """
        if not depths:
            raise ValueError("depths must not be empty: a search has at least one")
        return cls(
            prompt_tokens,
            sum(depth.tokens for depth in depths),
            max(depth.paths for depth in depths),
            attention,
            share_prompt,
            concurrency,
            cached_tokens,
            verifier,
            tuple(depths),
            past,
        )

    @property
    def depths(self) -> tuple[Depth, ...]:
        """Of samples: one."""
        return self.tree or (Depth(self.samples, self.output_tokens),)

    @property
    def prompts(self) -> float:
        """How many copies of the prompt are computed and stored."""
        return 1 if self.share_prompt else self.depths[0].paths

    def runs(self) -> Iterator[Run]:
        """The decode steps, depth by depth.

        The pass over the prompt gives the first token, and the last token is never read: L tokens take L − 1 steps,
        which attend to 1, …, L − 1 positions past the prompt. Paths that go on from `past` take L, from there on.
        """
        held = self.past
        for depth in self.depths:
            first = max(held, 1.0)
            held += depth.tokens
            if held > first:
                yield Run(depth.paths, first, held - first)
