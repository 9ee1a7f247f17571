from prometheus_client import CollectorRegistry, generate_latest

from budgets.ledger import Spent
from budgets.tariff import Charge
from service.tenants.counters import MOST_NAMED, OTHERS, TenantCounters


def test_the_number_of_names_is_bounded_and_nothing_is_lost():
    registry = CollectorRegistry()
    counters = TenantCounters(registry)
    for i in range(3 * MOST_NAMED):
        counters.settled(f"t{i}", "majority", Spent(tokens=2, charge=Charge(usd=0.5)))
        counters.refused(f"t{i}", "rate_limited")
    counters.settled("t0", "majority", Spent(tokens=5))
    text = generate_latest(registry).decode()
    lines = [line for line in text.splitlines() if line.startswith("aliquot_tenant_tokens_total{")]
    assert len(lines) == MOST_NAMED + 1
    assert sum(float(line.split()[-1]) for line in lines) == 3 * MOST_NAMED * 2 + 5
    assert f'aliquot_tenant_usd_total{{strategy="majority",tenant="{OTHERS}"}} {MOST_NAMED:.1f}' in text
    assert 'aliquot_tenant_tokens_total{strategy="majority",tenant="t0"} 7.0' in text
