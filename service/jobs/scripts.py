"""The steps of a job in Redis; see `lua` for the keys."""

from __future__ import annotations

from typing import Final

from service.jobs.lua import COMMON, MOST_AT_ONCE, TELL_MS
from service.store.script import Script

SUBMIT: Final = Script(
    COMMON
    + """
local id, list, tenant, priority, model, webhook = unpack(ARGV, 1, 6)
local function view() return redis.call('HMGET', job(id), unpack(ARGV, 9)) end
local owner = redis.call('HGET', job(id), 'tenant')
if owner then return owner == tenant and view() or 'taken' end
if waiting() >= tonumber(ARGV[7]) then return 'full' end
redis.call('SET', job(id) .. ':request', ARGV[8])
redis.call('HSET', job(id), 'tenant', tenant, 'list', list, 'status', 'queued', 'priority', priority, 'model', model,
  'webhook', webhook, 'created', now, 'attempts', 0, 'fruitless', 0, 'told', 0)
forget(list)
redis.call('ZADD', root .. ':jobs:of:' .. list, time[1] * 1000000 + time[2], id)
redis.call('PERSIST', root .. ':jobs:of:' .. list)
redis.call('PERSIST', root .. ':jobs:ended:' .. list)
tell_status(id, 'queued')
enqueue(id, priority)
return view()
"""
)
"""Keeps a job and queues it, once, and tells its fields; `full` where too many wait, `taken` for another's id."""

TAKE: Final = Script(
    COMMON
    + f"""
local lease = ARGV[2]

local function free(priority)
  local stream = queue(priority)
  if redis.call('EXISTS', stream) == 0 then return nil end
  local late = redis.call('XPENDING', stream, 'workers', 'IDLE', lease, '-', '+', 1)[1]
  if late then return late[1], true end
  local group = redis.call('XINFO', 'GROUPS', stream)[1]
  for i = 1, #group, 2 do
    if group[i] == 'last-delivered-id' then
      local new = redis.call('XRANGE', stream, '(' .. group[i + 1], '+', 'COUNT', 1)[1]
      return new and new[1], false
    end
  end
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', LATER, '-inf', now, 'LIMIT', 0, {MOST_AT_ONCE})) do
  local priority = redis.call('HGET', job(id), 'priority')
  if priority then enqueue(id, priority) end
  redis.call('ZREM', LATER, id)
end
local priority = 'interactive'
local entry, late = free(priority)
if not entry then
  priority = 'batch'
  entry, late = free(priority)
end
if not entry then return nil end
local queued = redis.call('XRANGE', queue(priority), entry, entry)[1]
local id = queued and queued[2][2] or ''
local status = redis.call('HGET', job(id), 'status')
if status ~= 'queued' and status ~= 'running' then
  redis.call('XACK', queue(priority), 'workers', entry)
  redis.call('XDEL', queue(priority), entry)
  return {{id}}
end
local attempt = redis.call('HINCRBY', job(id), 'attempts', 1)
redis.call('HINCRBY', job(id), 'fruitless', 1)
if late then
  redis.call('XCLAIM', queue(priority), 'workers', 'worker', 0, entry, 'JUSTID')
else
  redis.call('XREADGROUP', 'GROUP', 'workers', 'worker', 'COUNT', 1, 'STREAMS', queue(priority), '>')
end
local holder = attempt .. ':' .. ARGV[1]
redis.call('HSETNX', job(id), 'started', now)
redis.call('HSET', job(id), 'status', 'running', 'holder', holder)
tell_status(id, 'running')
local tenant, fruitless = unpack(redis.call('HMGET', job(id), 'tenant', 'fruitless'))
return {{id, holder, tenant, attempt, fruitless, status}}
"""
)
"""Takes a job: one that was lost or given back first, then the longest waiting; interactive before batch. Nil for none,
an id alone where what was queued is not kept any more: try again."""

WATCH: Final = Script(
    COMMON
    + """
local states = {}
for i = 2, #ARGV, 2 do
  local id = ARGV[i]
  local holder, priority, entry, status = unpack(redis.call('HMGET', job(id), 'holder', 'priority', 'entry', 'status'))
  if holder == ARGV[i + 1] then
    status = 'held'
    if ARGV[1] == '1' then redis.call('XCLAIM', queue(priority), 'workers', 'worker', 0, entry, 'JUSTID') end
  elseif status ~= 'cancelled' then
    status = 'lost'
  end
  states[#states + 1] = status
end
return {waiting(), states}
"""
)
"""How many jobs wait, and of each job with a holder whether it is `held`, `lost` or `cancelled`; renews leases."""

APPEND: Final = Script(
    COMMON
    + """
local id, index, record, mark, first = ARGV[1], tonumber(ARGV[3]), ARGV[4], ARGV[5], tonumber(ARGV[6])
if not held(id, ARGV[2]) then return 'lost' end
local journal, heard = job(id) .. ':journal', first + #ARGV - 6
if index >= 0 then
  local length = redis.call('LLEN', journal)
  if length == index then
    redis.call('RPUSH', journal, record)
    if mark == 'fruitful' then redis.call('HSET', job(id), 'fruitless', 0) end
    if mark == 'failed' then redis.call('HSETNX', job(id), 'failed', heard) end
    if mark == 'retried' then
      redis.call('HSET', job(id), 'told', redis.call('HGET', job(id), 'failed') or 0)
      redis.call('HDEL', job(id), 'failed')
    end
  elseif length ~= index + 1 or redis.call('LINDEX', journal, -1) ~= record then
    return 'lost'
  end
end
local told = tonumber(redis.call('HGET', job(id), 'told'))
for i = 7, #ARGV do
  if first + i - 6 > told then tell(id, ARGV[i]) end
end
redis.call('HSET', job(id), 'told', math.max(told, heard))
return 'kept'
"""
)
"""Appends a record at `index` of the journal, and publishes events heard after the `first`: `kept` or `lost`.

The same again is `kept` too, and done once. A journal of another length is `lost`: the store has forgotten a part.
Events that an earlier attempt has published are passed over, but for those behind a call that is made again.
"""

FINISH: Final = Script(
    COMMON
    + """
local id, holder, status, error, result = unpack(ARGV, 1, 5)
if redis.call('HGET', job(id), 'ended_by') == holder then return 'kept' end
if not held(id, holder) then return 'lost' end
if result ~= '' then redis.call('SET', job(id) .. ':result', result) end
redis.call('HSET', job(id), 'ended_by', holder)
finish(id, status, error, tonumber(ARGV[6]))
return 'kept'
"""
)
"""Ends a job, once: `kept`, or `lost` where somebody else holds it or has ended it."""

GIVE_UP: Final = Script(
    COMMON
    + """
local id, delay, lease = ARGV[1], tonumber(ARGV[3]), ARGV[4]
if not held(id, ARGV[2]) then return 'lost' end
redis.call('HSET', job(id), 'status', 'queued')
redis.call('HDEL', job(id), 'holder')
local priority, entry, fruitless = unpack(redis.call('HMGET', job(id), 'priority', 'entry', 'fruitless'))
if ARGV[5] == '0' then redis.call('HSET', job(id), 'fruitless', math.max(0, fruitless - 1)) end
if delay >= 0 then
  dequeue(id)
  redis.call('ZADD', LATER, now + delay, id)
else
  redis.call('XCLAIM', queue(priority), 'workers', 'worker', 0, entry, 'IDLE', lease, 'JUSTID')
end
tell_status(id, 'queued')
return 'kept'
"""
)
"""Gives a held job back: for a next try after `delay` milliseconds, or, where that is negative, to whoever is next. The
last argument says whether the attempt counts."""

CANCEL: Final = Script(
    COMMON
    + """
local id = ARGV[1]
local tenant, status = unpack(redis.call('HMGET', job(id), 'tenant', 'status'))
if tenant ~= ARGV[2] then return 'missing' end
if status ~= 'queued' and status ~= 'running' then return 'ended' end
finish(id, 'cancelled', '', tonumber(ARGV[3]))
return 'cancelled'
"""
)
"""Ends a tenant's job as cancelled, unless it has ended; a worker that holds it finds so when it looks."""

PAGE: Final = Script(
    COMMON
    + """
local list, after, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
forget(list)
local first = 0
if after ~= '' then
  first = redis.call('ZREVRANK', root .. ':jobs:of:' .. list, after)
  if not first then return nil end
  first = first + 1
end
local found = {}
for _, id in ipairs(redis.call('ZREVRANGE', root .. ':jobs:of:' .. list, first, first + limit - 1)) do
  found[#found + 1] = {id, redis.call('HMGET', job(id), unpack(ARGV, 4))}
end
return found
"""
)
"""A tenant's jobs, the newest first, from behind the one given on; nil where that is not known."""

UNTOLD: Final = Script(
    COMMON
    + f"""
local ids = redis.call('ZRANGEBYSCORE', UNTOLD, '-inf', now, 'LIMIT', 0, tonumber(ARGV[1]))
local due = {{}}
for _, id in ipairs(ids) do
  if redis.call('EXISTS', job(id)) == 1 and redis.call('HINCRBY', job(id), 'tellings', 1) <= tonumber(ARGV[2]) then
    redis.call('ZADD', UNTOLD, now + {TELL_MS}, id)
    due[#due + 1] = id
  else
    redis.call('ZREM', UNTOLD, id)
  end
end
return due
"""
)
"""Ended jobs whose hooks were to be called by a replica that has not said it did."""
