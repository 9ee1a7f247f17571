"""Tenants as the service uses them: who asks, and what a run may spend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING, Final

from budgets.ledger import Spent
from service.errors import ApiError
from service.settings import Settings
from service.store.client import Store, StoreUnavailable
from service.tenants.directory import Directory
from service.tenants.quotas import NANO, Held, Quotas, Settlement, nano, seconds_to_midnight
from service.tenants.settling import Settling
from service.tenants.tenant import ADMIN, ANONYMOUS, Tenant
from service.tenants.wanted import Amounts, wanted

if TYPE_CHECKING:
    from service.planning import Plan

RENEW_SECONDS: Final = 10.0
"""Between two renewals of all leases; see `LEASE_SECONDS`."""

FIRST_TURN: Final = 1
"""Of every request; a job's later turns are taken over by its next attempt."""

SETTLE_SECONDS: Final = 0.5
"""What a reply waits for a store that is slow to charge it."""


class Tenants:
    """Who may ask, by key, and what each may spend. What it knows is in the store alone.

    `required` says whether requests need a key. `on_settled` hears what each run has spent, with its tenant and
    strategy; `on_refused` the tenant and the error's code.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self.directory = Directory(store)
        self.quotas = Quotas(store)
        self.required = settings.keys_required
        self.on_settled: Callable[[str, str, Spent], None] = lambda *_: None
        self.on_refused: Callable[[str, str], None] = lambda *_: None
        self.settling = Settling(self.quotas)
        key = settings.admin_key
        self._admin = _digest(key.get_secret_value()) if key else None
        self._open: dict[tuple[str, str], Spending] = {}
        self._renewing: asyncio.Task[None] | None = None

    @property
    def administrable(self) -> bool:
        """Whether there is an admin key."""
        return self._admin is not None

    def is_admin(self, token: str) -> bool:
        """Whether a token is the admin key. How long that takes tells nothing of it."""
        return self._admin is not None and compare_digest(_digest(token), self._admin)

    async def tenant(self, name: str) -> Tenant:
        """The tenant of that name as it is now, for work that goes on without a key.

        Raises ApiError 403 where it has been removed, StoreUnavailable.
        """
        found = {one.name: one for one in (ANONYMOUS, ADMIN)}.get(name) or await self.directory.tenant(name)
        if found is None:
            raise ApiError(
                403, "not_allowed", f"The tenant {name} has been removed, and nothing runs for it."
            )
        return found

    @asynccontextmanager
    async def spending(
        self,
        tenant: Tenant,
        id: str,
        plan: Plan,
        *,
        interactive: bool = True,
        lost: Amounts | None = None,
    ) -> AsyncGenerator[Spending]:
        """A block in which a run may spend; it is charged at its end, however that comes. Raises as `reserve`."""
        spending = await self.reserve(tenant, id, plan, interactive=interactive, lost=lost)
        try:
            yield spending
        except ApiError as error:
            if explained := spending.explained(error):
                raise explained from error
            raise
        finally:
            await spending.settle()

    async def reserve(
        self,
        tenant: Tenant,
        id: str,
        plan: Plan,
        *,
        interactive: bool = True,
        lost: Amounts | None = None,
    ) -> Spending:
        """Hold what a run may spend, and lower the caps of its ledger to what quotas leave; `settle` it in any case.

        Without `interactive`, as for jobs, it is not held to requests per second and at once, and the same id takes
        the place of an earlier attempt, whose calls without a result are `lost` and charged. Raises ApiError 429
        where a limit leaves no room, StoreUnavailable. Nothing is asked and held for those who need no key.
        """
        if tenant.name == ANONYMOUS.name:
            return Spending(None, tenant, id, plan, lost)
        want = wanted(plan, tenant, lost)
        asking = asyncio.ensure_future(self.quotas.reserve(tenant, id, want, job=not interactive))
        try:
            held = await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.add_done_callback(lambda asked: self._give_back(asked, tenant, id))
            raise
        except ApiError as refused:
            self._give_back(asking, tenant, id)
            self.on_refused(tenant.name, refused.code)
            raise
        lowered = held.tokens < want.tokens or held.nano < want.nano
        if lowered:
            warning = "The tenant's quota left less than this request might spend: its budget was lowered."
            plan = replace(plan, warnings=(*plan.warnings, warning))
        _lower(plan, tenant, held, lost)
        spending = self._open[tenant.name, id] = Spending(self, tenant, id, plan, lost, held.turn, lowered)
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew())
        return spending

    async def close(self) -> None:
        """Return when all that ended has been charged."""
        if self._renewing:
            self._renewing.cancel()
        await self.settling.close()

    def settled(self, spending: Spending) -> asyncio.Future[None]:
        """Charge a run that ended. Returns at once; what it returns is done once that was tried."""
        tenant, ledger, lost = spending.tenant, spending.plan.ledger, spending.lost
        if self._open.get((tenant.name, spending.id)) is spending:
            del self._open[tenant.name, spending.id]
        spent = ledger.spent
        self.on_settled(tenant.name, spending.plan.strategy.name, spent)
        tokens, usd = (spent.tokens, spent.charge.usd)
        if lost:
            tokens, usd = tokens + lost.tokens, usd + lost.usd
        return self.settling.put(
            Settlement(tenant.name, spending.id, spending.turn, tokens, nano(usd), spent.prompt_tokens)
        )

    def _give_back(self, asked: asyncio.Future[Held], tenant: Tenant, id: str) -> None:
        """Free what nobody is going to spend, also where it may be held without our having heard of it."""
        error = None if asked.cancelled() else asked.exception()
        if isinstance(error, StoreUnavailable) and error.began:
            self.settling.undo(Settlement(tenant.name, id, FIRST_TURN, 0, 0, 0))
        elif error is None and not asked.cancelled():
            self.settling.put(Settlement(tenant.name, id, asked.result().turn, 0, 0, 0))

    async def _renew(self) -> None:
        while self._open:
            await asyncio.sleep(RENEW_SECONDS)
            if self._open:
                with suppress(StoreUnavailable):
                    await self.quotas.renew(list(self._open))


class Spending:
    """What a run may spend; `plan` is its plan within that. Ends with `settle`."""

    def __init__(
        self,
        tenants: Tenants | None,
        tenant: Tenant,
        id: str,
        plan: Plan,
        lost: Amounts | None,
        turn: int = 0,
        lowered: bool = False,
    ) -> None:
        self.turn = turn
        self.tenant = tenant
        self.id = id
        self.plan = plan
        self.lost = lost
        self._tenants = tenants
        self._lowered = lowered

    def explained(self, error: ApiError) -> ApiError | None:
        """Where the error's cause is a budget that the tenant's quota has lowered, one that says so."""
        if not self._lowered or error.code != "budget_too_small":
            return None
        message = "What is left of this tenant's quota does not pay for this request. The next day begins at 00:00 UTC."
        return ApiError(429, "quota_exceeded", message, retry_after=seconds_to_midnight())

    async def settle(self) -> None:
        """Charge what was spent and free the rest; does nothing the second time.

        Behind the reply where nothing of the tenant's next request depends on it: a limit that is tight would refuse
        what it should let pass.
        """
        tenants, self._tenants = self._tenants, None
        if tenants is None:
            return
        tried = tenants.settled(self)
        tenant = self.tenant
        if (tenant.requests_at_once, tenant.tokens_per_day, tenant.usd_per_day) != (None, None, None):
            await asyncio.wait([tried], timeout=SETTLE_SECONDS)


def _lower(plan: Plan, tenant: Tenant, held: Held, lost: Amounts | None) -> None:
    if tenant.tokens_per_day is not None:
        plan.ledger.lower(tokens=max(1, held.tokens - (lost.tokens if lost else 0)))
    if tenant.usd_per_day is not None and held.nano:
        plan.ledger.lower(usd=max(1, held.nano - (nano(lost.usd) if lost else 0)) / NANO)


def _digest(key: str) -> bytes:
    return sha256(key.encode(errors="surrogatepass")).digest()
