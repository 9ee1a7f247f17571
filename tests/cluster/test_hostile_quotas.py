"""Limits of a tenant that many requests draw on at once, over two replicas: never exceeded."""

import asyncio
from collections import Counter

import pytest

from tests.cluster.asking import client, fine
from tests.cluster.hostile import prompt

pytestmark = pytest.mark.usefixtures("unharmed")


async def crowd(place, headers, count, **asked):
    """What both replicas answer so many requests of one tenant, sent at once."""
    async with client("", headers=headers) as http:
        urls = [service.url for service in place.cluster.services]
        posts = (http.post(f"{urls[i % 2]}/v1/scale", json=prompt(i) | asked) for i in range(count))
        answers = list(await asyncio.gather(*posts))
    for answer in answers:
        fine(answer)
    return answers


def usage_of(place, headers, at=0):
    return place.http.get(f"{place.cluster.services[at].url}/v1/usage", headers=headers).json()


async def watched(place, headers, work):
    """The most that was ever spent and reserved together, while `work` went on, in tokens and in USD."""
    tokens = usd = 0.0
    while not work.done():
        told = await asyncio.to_thread(usage_of, place, headers)
        tokens = max(tokens, told["days"][0]["tokens"] + told["reserved"]["tokens"])
        usd = max(usd, told["days"][0]["usd"] + told["reserved"]["usd"])
        await asyncio.sleep(0.02)
    return tokens, usd


@pytest.mark.parametrize("limits", [{"tokens_per_day": 3_000}, {"usd_per_day": 0.0001}])
async def test_many_that_spend_the_last_of_a_quota_never_exceed_it(place, limits):
    """In USD a request of four samples may come to about a fiftieth of a cent."""
    (unit,) = limits
    headers = place.tenant(f"thrifty-{unit}", **limits)
    place.cluster.engines[0].fault(seconds=0.002)
    work = asyncio.create_task(crowd(place, headers, 60, max_tokens=200))
    tokens, usd = await watched(place, headers, work)
    answers = work.result()
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses[200]
    assert statuses[429]
    assert sum(statuses.values()) == statuses[200] + statuses[429]
    assert {a.json()["error"]["code"] for a in answers if a.status_code == 429} == {"quota_exceeded"}
    assert tokens <= limits.get("tokens_per_day", tokens)
    assert usd <= limits.get("usd_per_day", usd) + 1e-9
    spent = [answer.json()["scaling"]["spent"] for answer in answers if answer.status_code == 200]
    for at in (0, 1):
        (today,) = usage_of(place, headers, at)["days"]
        assert today["tokens"] == sum(one["tokens"] for one in spent) > 0
        assert today["usd"] == pytest.approx(sum(one["usd"] for one in spent), abs=1e-7)
        assert today["requests"] >= statuses[200]
    assert usage_of(place, headers)["reserved"] == {"requests": 0, "tokens": 0, "usd": 0}


async def test_requests_at_once_are_counted_over_both_replicas(place):
    headers = place.tenant("narrow", requests_at_once=3)
    place.cluster.engines[0].fault(seconds=0.03)
    answers = await crowd(place, headers, 20)
    assert Counter(answer.status_code for answer in answers) == {200: 3, 429: 17}
    assert {a.json()["error"]["code"] for a in answers if a.status_code == 429} == {"rate_limited"}
    place.cluster.engines[0].fault()
    assert [answer.status_code for answer in await crowd(place, headers, 3)] == [200] * 3


async def test_requests_per_second_are_counted_over_both_replicas_and_retry_after_is_honest(place):
    headers = place.tenant("hasty", requests_per_second=0.25)
    answers = await crowd(place, headers, 12)
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses == {200: 1, 429: 11}
    wait = min(int(answer.headers["retry-after"]) for answer in answers if answer.status_code == 429)
    assert 1 <= wait <= 4
    await asyncio.sleep(4)
    assert [answer.status_code for answer in await crowd(place, headers, 1)] == [200]
