"""What a tenant may ask for: models and strategies."""

from __future__ import annotations

from service.errors import ApiError
from service.schemas import VerifierRequest
from service.tenants.tenant import Tenant


def check_allowed(tenant: Tenant, model: str, strategy: str, verifier: str | VerifierRequest | None) -> None:
    """Raises ApiError 403 where the tenant may not use the model, the strategy or the model of the judge it names."""
    _check(tenant.models, model, "model")
    _check(tenant.strategies, strategy, "scaling.strategy")
    if isinstance(verifier, VerifierRequest) and verifier.model is not None:
        _check(tenant.models, verifier.model, "scaling.verifier.model")


def _check(allowed: tuple[str, ...] | None, asked: str, field: str) -> None:
    if allowed is not None and asked not in allowed:
        instead = f"It may use {', '.join(allowed)}." if allowed else "It may use none."
        message = f"{field} is {asked[:100]!r}, which this tenant may not use. {instead}"
        raise ApiError(403, "not_allowed", message, param=field)
