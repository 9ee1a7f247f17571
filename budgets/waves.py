"""What is spent where samples are drawn in waves of 1, 2, 4, …, until one is accepted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from budgets.difficulty import Array
from budgets.voting import Counts


@dataclass(frozen=True, slots=True, eq=False)
class Waves:
    """For some numbers of samples at most: first all whole waves, (W,), then the last one of each number, (N,), cut.

    `sizes`, 0 where nothing is left to draw. `drawn`: the numbers of samples drawn before or after a wave, of which
    `before` and `after` are the places. `full`: how many whole waves each number has.
    """

    sizes: Counts
    drawn: Array
    before: Counts
    after: Counts
    full: Counts

    def spent(
        self, charges: Array, again: Array, saved_by_stopping: float, goes_on: Callable[[Array], Array]
    ) -> tuple[Array, Array]:
        """FLOP, seconds and USD, (3, N), and samples drawn, (N,), where a wave is drawn as far as `goes_on` says.

        `charges`: of each wave, (3, W + N), of which waves after the first save `again`: the prompt is in the prefix
        cache. In the wave that ends it the others run until the accepted one has ended.
        """
        none = goes_on(self.drawn)
        begun, failed = none[self.before], none[self.after]
        whole = 1 - saved_by_stopping * (self.sizes - 1) / np.maximum(1, self.sizes)
        share = (failed + np.maximum(0.0, begun - failed) * whole) * (self.sizes > 0)
        each = (
            np.concatenate([np.maximum(0.0, charges - again * (self.before > 0)), self.sizes[None]]) * share
        )
        waves = len(self.sizes) - len(self.full)
        upto = np.zeros((len(each), waves + 1))
        np.cumsum(each[:, :waves], axis=1, out=upto[:, 1:])
        total = upto[:, self.full] + each[:, waves:]
        return total[:-1], total[-1]


@lru_cache(1024)
def waves(samples: bytes) -> Waves:
    """Those of so many samples at most: the bytes of an array of integers."""
    n = np.frombuffer(samples, dtype=int)
    count = int(n.max() + 1).bit_length()
    whole = 1 << np.arange(count)
    full = np.log2(n + 1 + 1e-9).astype(int)
    begun = (1 << full) - 1
    drawn, places = np.unique(np.concatenate([whole - 1, begun, 2 * whole - 1, n]), return_inverse=True)
    before, after = places.reshape(2, -1)
    return Waves(np.concatenate([whole, n - begun]), drawn.astype(float), before, after, full)
