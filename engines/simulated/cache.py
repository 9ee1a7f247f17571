"""vLLM's prefix cache, simulated: which of a prompt's tokens need not be read again."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from engines.simulated.words import Tokens

BLOCK: Final = 16
"""Tokens in a block, vLLM's default on a GPU."""


class PrefixCache:
    """Full blocks of `BLOCK` tokens, each found by all tokens up to its end; beyond `blocks` the oldest in use go.

    `queried` and `hit` count tokens as vLLM's metrics do: of each sequence, n times those of a prompt with n samples.
    """

    def __init__(self, blocks: int = 65_536) -> None:
        self._blocks: OrderedDict[int, None] = OrderedDict()
        self._most = blocks
        self.queried = 0
        self.hit = 0

    def read(self, prompt: Tokens, n: int) -> tuple[int, int]:
        """Read `prompt` for `n` samples: how many of its tokens were held (never the last), and its last full block."""
        held = key = 0
        missed = False
        for key in _keys(prompt, 0):
            missed = missed or key not in self._blocks
            held += not missed
            self._keep(key)
        full = max(0, len(prompt) - 1) // BLOCK
        held = min(held, full) * BLOCK
        self.queried += n * len(prompt)
        self.hit += held + (n - 1) * full * BLOCK
        return held, key

    def write(self, prompt: Tokens, block: int, generated: Tokens) -> None:
        """Hold what was generated after `prompt` and its last full `block`; the last token was never read."""
        full = len(prompt) // BLOCK * BLOCK
        for key in _keys(prompt[full:] + generated[:-1], block):
            self._keep(key)

    def _keep(self, key: int) -> None:
        self._blocks[key] = None
        self._blocks.move_to_end(key)
        if len(self._blocks) > self._most:
            self._blocks.popitem(last=False)


def _keys(tokens: Tokens, key: int) -> list[int]:
    """The keys of the full blocks of `tokens`, which follow the block `key`."""
    keys = []
    for end in range(BLOCK, len(tokens) + 1, BLOCK):
        key = hash((key, tokens[end - BLOCK : end]))
        keys.append(key)
    return keys
