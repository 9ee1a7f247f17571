"""What a request may spend."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

Unit = Literal["samples", "tokens", "seconds", "eflops", "usd"]


class BudgetExhausted(Exception):
    """Nothing more fits under the cap in `unit`."""

    def __init__(self, unit: Unit) -> None:
        super().__init__(f"the budget in {unit} is used up")
        self.unit: Unit = unit


@dataclass(frozen=True, slots=True)
class Budget:
    """Hard caps: samples begun, tokens generated (by the generator and by verifiers that generate), wall-clock seconds,
    eFLOPs (in FLOP) and USD as a `Tariff` counts them.

    `None` leaves a unit uncapped. Raises ValueError for a cap that is not a finite positive number.
    """

    samples: int
    tokens: int | None = None
    seconds: float | None = None
    eflops: float | None = None
    usd: float | None = None

    @property
    def priced(self) -> bool:
        """Whether a cap is on what calls cost."""
        return self.eflops is not None or self.usd is not None

    def __post_init__(self) -> None:
        for unit in get_args(Unit):
            cap = getattr(self, unit)
            if cap is not None and not (math.isfinite(cap) and cap > 0):
                raise ValueError(f"{unit} must be a finite number above 0, not {cap}")
