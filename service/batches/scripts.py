"""Batches in Redis, in Lua: each step is atomic, whichever replica takes it, and times are the server's.

Keys, after the prefix: `batch:ID`, a hash; `batch:ID:names`, a list of what each line is called; `batch:ID:bodies`, a
list of the requests that are not jobs yet; `batch:ID:states`, a letter for each line (`-`, and of one that ended
`c`ompleted, `f`ailed, `x` for cancelled, `l`ost); `batches:of:TENANT`, its batches
by the time they came; `batches:open:TENANT`, those that have not ended; `batches:due`, those that somebody should look
at, by when. Line n of a batch is the job `ID-n`, so that it is submitted once, however often that is tried.
"""

from __future__ import annotations

from typing import Final

from service.store.script import Script

WINDOW: Final = 500
"""Jobs of one batch that are queued or running at once, so that no batch fills the queue."""
AT_ONCE: Final = 64
"""Lines that become jobs in one step."""
LOOK_MS: Final = 5_000
"""How long one replica has for a step, before another takes it."""
MOST_CLEARED: Final = 100

_COMMON: Final = """
local root = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local DUE = root .. ':batches:due'
local function batch(id) return root .. ':batch:' .. id end
local function of(tenant) return root .. ':batches:of:' .. tenant end
local function open(tenant) return root .. ':batches:open:' .. tenant end
"""

CREATE: Final = Script(
    _COMMON
    + f"""
local id, list, tenant, endpoint, webhook, total = unpack(ARGV, 1, 6)
if redis.call('HEXISTS', batch(id), 'status') == 1 then return 'kept' end
if redis.call('SCARD', open(list)) >= tonumber(ARGV[7]) then return 'full' end
if redis.call('LLEN', batch(id) .. ':bodies') ~= tonumber(total) then return 'gone' end
redis.call('SET', batch(id) .. ':states', string.rep('-', total))
redis.call('HSET', batch(id), 'tenant', tenant, 'list', list, 'status', 'in_progress', 'endpoint', endpoint,
  'webhook', webhook, 'made', ARGV[8], 'total', total, 'next', 0, 'completed', 0, 'failed', 0, 'created', now)
for _, part in ipairs({{':names', ':bodies'}}) do redis.call('PERSIST', batch(id) .. part) end
for _, old in ipairs(redis.call('ZRANGE', of(list), 0, {MOST_CLEARED - 1})) do
  if redis.call('EXISTS', batch(old)) == 0 then redis.call('ZREM', of(list), old) end
end
redis.call('ZADD', of(list), time[1] * 1000000 + time[2], id)
redis.call('PERSIST', of(list))
redis.call('SADD', open(list), id)
redis.call('ZADD', DUE, now, id)
return 'kept'
"""
)
"""Makes a batch of lines that were written before: `kept`; `full` where the tenant has too many open; `gone` where the
lines are not there."""

TAKE: Final = Script(
    _COMMON
    + f"""
local taken = {{}}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', 0, ARGV[1])) do
  if redis.call('EXISTS', batch(id)) == 1 then
    redis.call('ZADD', DUE, now + {LOOK_MS}, id)
    taken[#taken + 1] = id
  else
    redis.call('ZREM', DUE, id)
  end
end
return taken
"""
)
"""Batches that are due, for this replica to look at alone for a while."""

LOOK: Final = Script(
    _COMMON
    + f"""
local id, most, seconds = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local key = batch(id)
local tenant, list, status, webhook = unpack(redis.call('HMGET', key, 'tenant', 'list', 'status', 'webhook'))
if not status then return nil end
local next = tonumber(redis.call('HGET', key, 'next'))
local states = redis.call('GET', key .. ':states')
local running, at = {{}}, string.find(states, '-', 1, true)
local letters = {{completed = 'c', failed = 'f', cancelled = 'x'}}
local counted = {{c = 'completed', f = 'failed', l = 'failed'}}
while at and at <= next do
  local job = redis.call('HGET', root .. ':job:' .. id .. '-' .. (at - 1), 'status')
  local letter = job and letters[job] or (not job and 'l')
  if letter then
    redis.call('SETRANGE', key .. ':states', at - 1, letter)
    if counted[letter] then redis.call('HINCRBY', key, counted[letter], 1) end
  else
    running[#running + 1] = at - 1
  end
  at = string.find(states, '-', at + 1, true)
end
if (status == 'in_progress' or status == 'cancelling') and #running == 0 and not at then
  status = status == 'cancelling' and 'cancelled' or 'completed'
  redis.call('HSET', key, 'status', status, 'finished', now)
  for _, part in ipairs({{'', ':names', ':states'}}) do redis.call('EXPIRE', key .. part, seconds) end
  redis.call('DEL', key .. ':bodies')
  redis.call('SREM', open(list), id)
  if redis.call('SCARD', open(list)) == 0 then redis.call('EXPIRE', of(list), seconds) end
end
local bodies = {{}}
if status == 'in_progress' then
  local room = math.min({AT_ONCE}, {WINDOW} - #running)
  if room > 0 and redis.call('XLEN', root .. ':jobs:queue:batch') < most then
    bodies = redis.call('LRANGE', key .. ':bodies', 0, room - 1)
  end
elseif status ~= 'cancelling' and webhook == '' then
  redis.call('ZREM', DUE, id)
end
return {{tenant, status, webhook, next, running, bodies}}
"""
)
"""Counts the lines whose jobs have ended, and ends the batch with the last; what is to be done next: lines to submit,
jobs that run, or a webhook to tell."""

FED: Final = Script(
    _COMMON
    + """
local id, upto = ARGV[1], tonumber(ARGV[2])
local status, next = unpack(redis.call('HMGET', batch(id), 'status', 'next'))
if status == 'in_progress' and upto > tonumber(next) then
  redis.call('HSET', batch(id), 'next', upto)
  redis.call('LTRIM', batch(id) .. ':bodies', upto - next, -1)
end
return status
"""
)
"""Says that the lines before `upto` are jobs; the batch's status."""

LATER: Final = Script(
    _COMMON
    + """
if redis.call('ZSCORE', DUE, ARGV[1]) then redis.call('ZADD', DUE, now + ARGV[2], ARGV[1]) end
return 0
"""
)
"""Has a batch looked at again in so many milliseconds."""

CANCEL: Final = Script(
    _COMMON
    + """
local key = batch(ARGV[1])
local tenant, status, next, total = unpack(redis.call('HMGET', key, 'tenant', 'status', 'next', 'total'))
if tenant ~= ARGV[2] then return 'missing' end
if status ~= 'in_progress' then return 'kept' end
redis.call('HSET', key, 'status', 'cancelling', 'cancelling', now)
redis.call('SETRANGE', key .. ':states', next, string.rep('x', total - next))
redis.call('DEL', key .. ':bodies')
redis.call('ZADD', DUE, now, ARGV[1])
return 'kept'
"""
)
"""Takes the lines that are no jobs yet out of a tenant's batch, and has the jobs of the others cancelled."""

PAGE: Final = Script(
    _COMMON
    + """
local list, after, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
local first = 0
if after ~= '' then
  first = redis.call('ZREVRANK', of(list), after)
  if not first then return nil end
  first = first + 1
end
local found = {}
for _, id in ipairs(redis.call('ZREVRANGE', of(list), first, first + limit - 1)) do
  found[#found + 1] = {id, redis.call('HMGET', batch(id), unpack(ARGV, 4))}
end
return found
"""
)
"""A tenant's batches, the newest first, from behind the one given on; nil where that is not known."""
