"""What outlives a request: profiles, latency factors, and the facts of responses that feedback may come for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from hashlib import sha1
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, cast

import msgspec

from budgets.latency import Factors
from service.errors import ApiError, undoable
from service.logs import logger
from service.settings import Limits
from service.store.client import Store, StoreUnavailable
from service.store.script import Script
from service.store.writer import Writer
from service.tenants.tenant import ANONYMOUS
from service.thinking import Thinking

if TYPE_CHECKING:
    from budgets.profiles import Profile

T = TypeVar("T")
Change = Callable[["Profile"], "Profile"]

MOST_SAMPLES: Final = 10_000
"""No configuration allows more."""

MOST_TRIES: Final = 50
"""Of a change that others' changes come before."""

SOON: Final = 0.1
"""Seconds within which a response's facts are written behind its reply."""

_KEEP: Final = """
local kept = redis.call('GET', KEYS[1])
if redis.sha1hex(kept or '') ~= ARGV[1] then return 'changed' end
if redis.call('HEXISTS', KEYS[2], ARGV[3]) == 0 and redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[5]) then
  return 'full'
end
"""
_WRITE: Final = """
redis.call('SET', KEYS[1], ARGV[2])
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
return 'kept'
"""
_JUDGE: Final = """
local judged = redis.call('GET', KEYS[4])
if judged then return judged end
local left = redis.call('PTTL', KEYS[3])
if left == -2 then return 'gone' end
"""
_JUDGED: Final = "redis.call('SET', KEYS[4], ARGV[6], 'PX', math.max(left, 1))\n"

KEEP: Final = Script(_KEEP + _WRITE)
"""Writes a profile and its summary if the profile is still the one that was read."""
JUDGE: Final = Script(_JUDGE + _KEEP + _JUDGED + _WRITE)
"""The same for feedback: if its response is still kept, and nothing was said of it before."""


class ResponseFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What feedback on a response needs to know of it: what ran, with how many samples, for which task.

    `k` answers were returned; `params` are the strategy's own. `tenant` asked, and alone may judge.
    """

    model: str
    task: str
    strategy: str
    samples: Annotated[int, msgspec.Meta(ge=1, le=MOST_SAMPLES)]
    params: dict[str, Any] = {}
    verifier: str | None = None
    k: Annotated[int, msgspec.Meta(ge=1)] = 1
    tenant: str = ANONYMOUS.name


class Verdict(msgspec.Struct, frozen=True):
    """What was said of a response: whether it was right, and of which task it was."""

    correct: bool
    task: str


class Records:
    """What is kept in the store. Without the store: what only reads goes on with what is known of nothing, and what
    writes raises StoreUnavailable. What cannot be read in the store counts as absent."""

    def __init__(self, store: Store, limits: Limits, thinking: Thinking) -> None:
        self.writer = Writer(store)
        self.fitting = asyncio.Lock()
        self._store = store
        self._limits = limits
        self._thinking = thinking
        self._updating = asyncio.Lock()

    async def profile(self, model: str, task: str) -> Profile:
        """The model's profile on the task; the prior where none is kept, or the store is down. Never raises."""
        kept = None
        with suppress(StoreUnavailable):
            kept = await self._get(self._store.key("profile", model, task))
        return await asyncio.to_thread(_profile, kept)

    async def keep_profile(self, model: str, task: str, profile: Profile) -> None:
        """Keep the profile in place of any other. Raises ApiError."""
        await self.update_profile(model, task, lambda _: profile)

    async def update_profile(self, model: str, task: str, change: Change) -> tuple[Profile, dict[str, Any]]:
        """The profile after `change`, which is called in a thread, and again where another change came first; and its
        summary. Atomic across replicas. Raises ApiError: 503 without the store, 422 where it has room for no more."""
        _, profile, summary = await self._update(model, task, change, KEEP, [], [])
        return profile, summary

    async def judge(
        self, id: str, facts: ResponseFacts, verdict: Verdict, change: Change
    ) -> tuple[Verdict, bool, dict[str, Any]]:
        """Count `verdict` on a response, once: the one that counts, whether it was new, and its profile's summary.
        Raises ApiError: 404 where the response is no longer kept, else as `update_profile`."""
        keys = [self._store.key("response", id), self._store.key("verdict", id)]
        await self.writer.written(keys[0])
        answer = await self._get(keys[1])
        summary: dict[str, Any] = {}
        if answer is None:  # else there is no need to work the change out
            said = [msgspec.json.encode(verdict)]
            answer, _, summary = await self._update(facts.model, verdict.task, change, JUDGE, keys, said)
        if answer == b"gone":
            raise response_not_found(id)
        if answer == b"kept":
            return verdict, True, summary
        earlier = _read(answer, Verdict) or verdict
        profile = await self.profile(facts.model, earlier.task)
        return earlier, False, await asyncio.to_thread(_summary, facts.model, earlier.task, profile)

    async def summaries(self) -> list[dict[str, Any]]:
        """Summaries of all profiles, by model and task. Raises StoreUnavailable."""
        async with self._store.exchange() as redis:
            kept = cast("dict[bytes, bytes]", await redis.hgetall(self._store.key("profiles")))
        found = [one for raw in kept.values() if (one := _read(raw, dict[str, Any])) is not None]
        return sorted(found, key=lambda one: (str(one.get("model")), str(one.get("task"))))

    async def factors(self, model: str) -> Factors:
        """The model's latency factors; those of no calls where none are kept, or the store is down. Never raises."""
        kept = None
        with suppress(StoreUnavailable):
            kept = await self._get(self._store.key("factors", model))
        plain = _read(kept, dict[str, Any])
        try:
            return Factors() if plain is None else Factors.from_dict(plain)
        except ValueError as error:
            logger().warning("unreadable_record", what="factors", why=str(error))
            return Factors()

    async def keep_factors(self, model: str, factors: Factors) -> None:
        """Keep the model's latency factors. Raises StoreUnavailable."""
        async with self._store.exchange() as redis:
            await redis.set(self._store.key("factors", model), msgspec.json.encode(factors.to_dict()))

    def keep_response(self, id: str, facts: ResponseFacts) -> None:
        """Keep what feedback needs to know of a response, for `limits.response_seconds`. Returns at once; without the
        store the facts are lost, and counted."""
        key = self._store.key("response", id)
        self.writer.put(key, msgspec.json.encode(facts), self._limits.response_seconds)

    async def response(self, id: str) -> ResponseFacts:
        """The facts of a response. Raises ApiError 404 where none are kept, StoreUnavailable."""
        key = self._store.key("response", id)
        kept = self.writer.waiting(key) or await self._get(key)
        if kept is None:
            # Another replica may have answered just now, and be about to write.
            await asyncio.sleep(SOON)
            kept = await self._get(key)
        facts = _read(kept, ResponseFacts)
        if facts is None:
            raise response_not_found(id)
        return facts

    async def _get(self, key: str) -> bytes | None:
        async with self._store.exchange() as redis:
            return cast("bytes | None", await redis.get(key))

    async def _update(
        self, model: str, task: str, change: Change, script: Script, keys: list[str], arguments: list[bytes]
    ) -> tuple[bytes, Profile, dict[str, Any]]:
        """What the script answers once no other change has come between; see `KEEP` for its keys and arguments."""
        key = self._store.key("profile", model, task)
        every = [key, self._store.key("profiles"), *keys]
        async with self._updating:
            for _ in range(MOST_TRIES):
                kept = await self._get(key)
                profile, *encoded, summary = await self._thinking.carry_on(
                    _changed, kept, change, model, task
                )
                # SHA-1 names what was read, as the script can; nothing is secured by it.
                read = sha1(kept or b"", usedforsecurity=False).hexdigest()
                values: list[Any] = [read, encoded[0], key, encoded[1], self._limits.profiles, *arguments]
                async with self._store.exchange() as redis:
                    answer = await script(redis, every, *values)
                if answer == b"full":
                    raise self._full()
                if answer != b"changed":
                    return answer, profile, summary
        raise StoreUnavailable

    def _full(self) -> ApiError:
        message = (
            f"The store keeps {self._limits.profiles} profiles and no more. Use a task that it has, or raise "
        )
        return undoable("too_many_profiles", message + "limits.profiles.", "task")


def response_not_found(id: str) -> ApiError:
    message = (
        f"There is no response {id[:100]!r}, or it is older than limits.response_seconds. Send a reply's id."
    )
    return ApiError(404, "response_not_found", message, param="id")


def _read(kept: bytes | None, shape: type[T]) -> T | None:
    """What is kept, or None where there is nothing that can be read."""
    if kept is None:
        return None
    try:
        return msgspec.json.decode(kept, type=shape)
    except msgspec.MsgspecError as error:
        logger().warning("unreadable_record", why=str(error)[:300])
        return None


@lru_cache(64)
def _profile(kept: bytes | None) -> Profile:
    """The profile in `kept`, or the prior. To read one takes milliseconds, and many requests read the same."""
    from budgets.profiles import Profile

    plain = _read(kept, dict[str, Any])
    if plain is not None:
        try:
            return Profile.from_dict(plain)
        except (ValueError, msgspec.ValidationError) as error:
            logger().warning("unreadable_record", what="profile", why=str(error)[:300])
    return Profile.prior()


def _summary(model: str, task: str, profile: Profile) -> dict[str, Any]:
    from service.summaries import summary

    return summary(model, task, profile)


def _changed(
    kept: bytes | None, change: Change, model: str, task: str
) -> tuple[Profile, bytes, bytes, dict[str, Any]]:
    """The profile after the change, and its summary, both as values and as they are kept."""
    profile = change(_profile(kept))
    told = _summary(model, task, profile)
    return profile, msgspec.json.encode(profile.to_dict()), msgspec.json.encode(told), told
