import pytest

from service.errors import ApiError
from service.settings import Settings
from service.store.client import Store
from service.tenants import directory
from service.tenants.directory import Directory
from service.tenants.tenant import Most, Tenant
from tests.redis_server import stored


@pytest.fixture
async def store():
    opened = Store(stored(Settings()))
    await opened.start()
    yield opened
    await opened.stop()


@pytest.fixture
def kept(store):
    return Directory(store)


async def code(asking):
    with pytest.raises(ApiError) as refused:
        await asking
    return refused.value.code


async def test_a_tenant_is_kept_whole_and_found_by_its_keys(kept):
    tenant = Tenant("t", 0.5, 3, 10**15, 0.25, ("m",), (), Most(samples=4, usd=1e-9))
    await kept.put(tenant)
    assert await kept.empty()
    id, key, record = await kept.add_key("t", "a note")
    assert await kept.identify(key) == (tenant, id)
    assert await kept.tenants() == [tenant]
    assert await kept.keys() == [(id, record)]
    assert (record.tenant, record.note) == ("t", "a note")
    assert not await kept.empty()


async def test_the_store_holds_no_secret(store, kept):
    await kept.put(Tenant("t"))
    _, key, _ = await kept.add_key("t", "")
    secret = key.split("-", 2)[2].encode()
    async with store.exchange() as redis:
        for name in await redis.keys(f"{store.key()}:*"):
            assert secret not in await redis.dump(name)


async def test_a_secret_opens_with_its_own_id_alone(kept):
    await kept.put(Tenant("t"))
    one, other = [(await kept.add_key("t", ""))[1] for _ in range(2)]
    mixed = "-".join([*one.split("-", 2)[:2], other.split("-", 2)[2]])
    assert await code(kept.identify(mixed)) == "invalid_api_key"


async def test_who_is_removed_is_gone_with_all_keys_and_others_stay(kept):
    for name in ("t", "u"):
        await kept.put(Tenant(name))
    keys = [(await kept.add_key(name, ""))[1] for name in ("t", "t", "u")]
    assert await kept.remove("t") == 2
    for key in keys[:2]:
        assert await code(kept.identify(key)) == "invalid_api_key"
    assert (await kept.identify(keys[2]))[0] == Tenant("u")
    assert await code(kept.remove("t")) == "tenant_not_found"
    assert await code(kept.add_key("t", "")) == "tenant_not_found"


async def test_numbers_of_tenants_and_keys_are_bounded(kept, monkeypatch):
    monkeypatch.setattr(directory, "MOST_TENANTS", 2)
    monkeypatch.setattr(directory, "MOST_KEYS", 1)
    for name in ("t", "u"):
        await kept.put(Tenant(name))
    assert await code(kept.put(Tenant("v"))) == "too_many_tenants"
    await kept.put(Tenant("u", requests_at_once=1))
    await kept.add_key("t", "")
    assert await code(kept.add_key("t", "")) == "too_many_keys"


async def test_what_cannot_be_read_opens_nothing(store, kept):
    await kept.put(Tenant("t"))
    id, key, _ = await kept.add_key("t", "")
    for broken in (b"", b"{}", b"[1]", b"{", b"7", b'{"tenant": "t", "hash": 5, "created": 1}'):
        async with store.exchange() as redis:
            await redis.hset(store.key("keys"), id, broken)
        assert await code(kept.identify(key)) == "invalid_api_key"
        assert await kept.keys() == []
    assert await code(kept.revoke("../keys")) == "key_not_found"
    await kept.revoke(id)
