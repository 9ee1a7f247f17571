"""The account of tenants in Redis, in Lua: each step is atomic, whichever replica takes it.

Amounts are integers, USD in billionths, since sums of floats drift; days are days since 1970 in UTC, by the server's
clock. In each unit spent + held never exceeds the day's quota: what a request may spend is held before it runs, and
settled after. A reservation belongs to the day it was made on. One whose lease ran out is charged in full; should its
run settle after all, the difference is made good, on the day that was charged.

Keys: `usage:NAME:DAY`, a hash of what is spent and held; `run:NAME:ID`, a hash of what a request holds and has been
charged; `leases:NAME`, ids of what is held, by the millisecond in which the lease runs out; `pace:NAME`, when the next
request may come, and how many run.
"""

from __future__ import annotations

from typing import Final

from service.store.script import Script

KEPT_DAYS: Final = 62
"""How long a day's usage is kept."""
RUN_SECONDS: Final = 8 * 86_400
"""How long it is remembered what a request was charged, for its next attempt."""
LEASE_SECONDS: Final = 30
"""A reservation that nobody has renewed for so long belongs to a process that died."""
MOST_GIVEN_UP: Final = 100
"""Reservations that one step gives up, so that none takes long."""

_COMMON: Final = f"""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local today = math.floor(time[1] / 86400)

local function key(kind, name, part)
  return KEYS[1] .. ':' .. kind .. ':' .. name .. (part and (':' .. part) or '')
end

local function numbers(hash, ...)
  local values = redis.call('HMGET', hash, ...)
  for i = 1, #values do values[i] = tonumber(values[i] or 0) end
  return unpack(values)
end

local function add(name, day, field, amount)
  if amount ~= 0 then redis.call('HINCRBY', key('usage', name, day), field, amount) end
end

local function read(name, id)
  local hash = key('run', name, id)
  local day, by, paid_day = unpack(redis.call('HMGET', hash, 'day', 'by', 'paid_day'))
  if not day then return nil end
  local run = {{day = day, by = by, paid_day = paid_day or day}}
  run.open, run.job, run.turn = numbers(hash, 'open', 'job', 'turn')
  run.tokens, run.nano = numbers(hash, 'tokens', 'nano')
  run.paid_tokens, run.paid_nano, run.paid_prompt = numbers(hash, 'paid_tokens', 'paid_nano', 'paid_prompt')
  return run
end

local function release(name, id, run)
  redis.call('ZREM', key('leases', name), id)
  if run.job == 0 then redis.call('HINCRBY', key('pace', name), 'running', -1) end
  add(name, run.day, 'held_tokens', -run.tokens)
  add(name, run.day, 'held_nano', -run.nano)
end

local function charge(name, id, run, tokens, nano, prompt)
  for field, amount in pairs({{
    tokens = tokens - run.paid_tokens, nano = nano - run.paid_nano, prompt_tokens = prompt - run.paid_prompt
  }}) do
    local day = amount < 0 and run.paid_day or run.day
    add(name, day, field, amount)
    add(name, day, field .. ':' .. run.by, amount)
  end
  redis.call('HSET', key('run', name, id), 'open', 0,
    'paid_tokens', tokens, 'paid_nano', nano, 'paid_prompt', prompt,
    'paid_day', tokens > run.paid_tokens and run.day or run.paid_day)
end

local function charge_in_full(name, id, run)
  release(name, id, run)
  charge(name, id, run, run.paid_tokens + run.tokens, run.paid_nano + run.nano, run.paid_prompt)
end

local function give_up(name)
  for _, id in ipairs(redis.call(
    'ZRANGEBYSCORE', key('leases', name), '-inf', now, 'LIMIT', 0, {MOST_GIVEN_UP}
  )) do
    local run = read(name, id)
    if run then
      charge_in_full(name, id, run)
    else
      redis.call('ZREM', key('leases', name), id)
    end
  end
  if redis.call('EXISTS', key('leases', name)) == 0 then redis.call('HDEL', key('pace', name), 'running') end
end
"""

RESERVE: Final = Script(
    _COMMON
    + f"""
local name, id, by, job = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local asked = {{}}
for i = 5, 13 do asked[i - 4] = tonumber(ARGV[i]) end
local tokens, least_tokens, most_tokens, nano, least_nano, most_nano, gap, burst, at_once = unpack(asked)

give_up(name)
local running, next_at = numbers(key('pace', name), 'running', 'next_at')
local before = read(name, id)
local run = before or {{paid_tokens = 0, paid_nano = 0, paid_prompt = 0}}
if run.open == 1 and run.day ~= tostring(today) then
  charge_in_full(name, id, run)
  run = read(name, id)
end

if job == 0 and run.open ~= 1 then
  local early = next_at - burst - now
  if gap > 0 and early > 0 then return {{'rate', math.ceil(early)}} end
  if at_once >= 0 and running >= at_once then return {{'at_once', 0}} end
end

local function room(field, mine, paid, wanted, least, most)
  if most < 0 then return wanted end
  local spent, held = numbers(key('usage', name, today), field, 'held_' .. field)
  if run.open == 1 then held = held - mine end
  local left = most - spent - held
  if left + paid >= least and left + paid > 0 then return math.max(paid, math.min(wanted, left + paid)) end
  return nil, most - spent + paid >= least and held > 0
end

local function refused(unit, waits)
  return {{unit, waits and 0 or (86400 - time[1] % 86400) * 1000}}
end

local given_tokens, waits = room('tokens', run.tokens, run.paid_tokens, tokens, least_tokens, most_tokens)
if not given_tokens then return refused('tokens', waits) end
local given_nano
given_nano, waits = room('nano', run.nano, run.paid_nano, nano, least_nano, most_nano)
if not given_nano then return refused('usd', waits) end

if run.open == 1 then release(name, id, run) end
if job == 0 then
  redis.call('HINCRBY', key('pace', name), 'running', 1)
  if gap > 0 and run.open ~= 1 then redis.call('HSET', key('pace', name), 'next_at', math.max(next_at, now) + gap) end
end
if not before then
  add(name, today, 'requests', 1)
  add(name, today, 'requests:' .. by, 1)
end
local hold_tokens, hold_nano = math.max(0, given_tokens - run.paid_tokens), math.max(0, given_nano - run.paid_nano)
add(name, today, 'held_tokens', hold_tokens)
add(name, today, 'held_nano', hold_nano)
redis.call('EXPIRE', key('usage', name, today), {KEPT_DAYS * 86_400})
redis.call('HSET', key('run', name, id), 'open', 1, 'job', job, 'day', today, 'by', by,
  'tokens', hold_tokens, 'nano', hold_nano)
redis.call('EXPIRE', key('run', name, id), {RUN_SECONDS})
redis.call('ZADD', key('leases', name), now + {LEASE_SECONDS * 1000}, id)
return {{'ok', given_tokens, given_nano, redis.call('HINCRBY', key('run', name, id), 'turn', 1)}}
"""
)
"""Holds what a request may spend, as far as quotas leave it: ok, the tokens and nano-dollars that are its caps, and
which turn of this id it is; or the limit that refuses it, and the milliseconds until it may not, 0 where other requests
have to end first.

Arguments: the tenant's name, the request's id, its model and strategy, whether it is a job's; tokens and then
nano-dollars: wanted, the least of use, the day's quota (-1: none); milliseconds between requests (0: any) and how much
earlier they may come, and most at once (-1: any). The same id again is a job's next attempt: it takes the place of
the one before, and what was charged for that counts as given.
"""

SETTLE: Final = Script(
    _COMMON
    + """
for _, one in ipairs(cjson.decode(ARGV[1])) do
  local name, id, turn, tokens, nano, prompt = unpack(one)
  local run = read(name, id)
  if run and run.turn == turn then
    local hash = key('run', name, id)
    local least_tokens, least_nano, least_prompt = numbers(hash, 'spent_tokens', 'spent_nano', 'spent_prompt')
    tokens, nano, prompt = math.max(tokens, least_tokens), math.max(nano, least_nano), math.max(prompt, least_prompt)
    if run.open == 1 then release(name, id, run) end
    charge(name, id, run, tokens, nano, prompt)
    if run.job == 0 then
      redis.call('DEL', hash)
    else
      redis.call('HSET', hash, 'spent_tokens', tokens, 'spent_nano', nano, 'spent_prompt', prompt)
    end
  end
end
"""
)
"""Charges requests what they have spent over all attempts, and frees what they held. Twice is as once, and an earlier
attempt that comes late takes nothing back, nor does one that ended before it had replayed what others spent. Its
argument: JSON of [name, id, turn, tokens, nano-dollars, prompt tokens] of each."""

RENEW: Final = Script(
    _COMMON
    + f"""
for _, one in ipairs(cjson.decode(ARGV[1])) do
  redis.call('ZADD', key('leases', one[1]), 'XX', now + {LEASE_SECONDS * 1000}, one[2])
end
"""
)
"""Renews leases. Its argument: JSON of [name, id] of each."""

USAGE: Final = Script(
    _COMMON
    + """
local name = ARGV[1]
give_up(name)
local days = {}
for day = today, today - tonumber(ARGV[2]) + 1, -1 do
  days[#days + 1] = {day, redis.call('HGETALL', key('usage', name, day))}
end
return {redis.call('ZCARD', key('leases', name)), days}
"""
)
"""What a tenant has spent in the last days, today first, and how many requests hold something. Arguments: the
tenant's name, and how many days."""
