"""What a run may come to spend, reckoned before it begins: as much is held of its tenant's quotas."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from budgets.ledger import MIN_SHARE
from service.tenants.quotas import MOST, Wanted, nano
from service.tenants.tenant import Tenant
from strategies.pricing import Calls
from strategies.stepping import Stepwise

if TYPE_CHECKING:
    from service.planning import Plan

SPARE = 1.001
"""Sums of prices, each rounded, are held with so much to spare."""


class Amounts(Protocol):
    """What was spent beside a run's own account: by calls of earlier attempts whose results were lost."""

    @property
    def tokens(self) -> int: ...

    @property
    def usd(self) -> float: ...


def wanted(plan: Plan, tenant: Tenant, lost: Amounts | None) -> Wanted:
    """All samples, each in full length, in a call of its own and judged; at a step's end too, where a strategy does.

    At most the request's own budget, and what was `lost` besides. USD where the tenant has a quota in them.
    """
    budget, longest = plan.ledger.budget, plan.problem.max_tokens
    verdict = plan.verifier.max_tokens if plan.verifier else None
    steps = math.ceil(longest / plan.strategy.step_tokens) + 1 if isinstance(plan.strategy, Stepwise) else 1
    tokens = plan.samples * (longest + steps * (verdict or 0))
    tokens = min(MOST, tokens, budget.tokens or tokens)
    least = min(tokens, MIN_SHARE)
    lost_tokens = lost.tokens if lost else 0
    by = plan.model, plan.strategy.name
    if tenant.usd_per_day is None:
        return Wanted(by, tokens + lost_tokens, least + lost_tokens)
    room = Calls(plan.pricing, plan.problem).room([plan.problem.prompt], 1, longest, verdict)
    usd = plan.samples * (room["price"](1, longest).usd + steps * room["beside"](1, longest).usd) * SPARE
    amount = nano(usd if budget.usd is None else min(usd, budget.usd))
    lost_nano = nano(lost.usd) if lost else 0
    # What has no room for an answer is seen by the run itself, before it spends anything.
    least_nano = min(amount, 1) + lost_nano
    return Wanted(by, tokens + lost_tokens, least + lost_tokens, amount + lost_nano, least_nano)
