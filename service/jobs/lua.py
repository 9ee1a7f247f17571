"""Jobs in Redis, in Lua: each step is atomic, whichever replica takes it, and times are the server's.

Keys, after the prefix that each script is given: `job:ID`, a hash; `job:ID:request`, the body; `job:ID:journal`, a
list; `job:ID:events`, a stream; `job:ID:result`; `jobs:of:TENANT`, its jobs by the time they came; `jobs:ended:TENANT`,
those that ended, by the time they are forgotten; `jobs:queue:PRIORITY`, a stream with the group `workers`;
`jobs:later`, jobs that wait for their next try, by when it is due; `jobs:untold`, ended jobs of which the hooks have
not been told, by when another replica may.

A worker holds a job by an entry of the queue that is pending and not idle for longer than the lease, and writes as
its `holder`, which no two attempts share: what a worker writes that lost its lease is refused.
"""

from __future__ import annotations

from typing import Final

MOST_EVENTS: Final = 10_000
"""Kept of one job; the oldest go first."""
MOST_AT_ONCE: Final = 100
"""Of what one step clears away or moves, so that none takes long."""
TELL_MS: Final = 60_000
"""How long hooks may take with a job, before another replica calls them."""

COMMON: Final = f"""
local root = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function job(id) return root .. ':job:' .. id end
local function queue(priority) return root .. ':jobs:queue:' .. priority end
local LATER, UNTOLD = root .. ':jobs:later', root .. ':jobs:untold'

local function waiting()
  local count = redis.call('ZCARD', LATER)
  for _, priority in ipairs({{'interactive', 'batch'}}) do
    if redis.call('EXISTS', queue(priority)) == 1 then
      count = count + redis.call('XLEN', queue(priority)) - redis.call('XPENDING', queue(priority), 'workers')[1]
    end
  end
  return count
end

local function enqueue(id, priority)
  if redis.call('EXISTS', queue(priority)) == 0 then
    redis.call('XGROUP', 'CREATE', queue(priority), 'workers', '0', 'MKSTREAM')
  end
  redis.call('HSET', job(id), 'entry', redis.call('XADD', queue(priority), '*', 'id', id))
end

local function dequeue(id)
  local priority, entry = unpack(redis.call('HMGET', job(id), 'priority', 'entry'))
  if entry then
    redis.call('XACK', queue(priority), 'workers', entry)
    redis.call('XDEL', queue(priority), entry)
    redis.call('HDEL', job(id), 'entry')
  end
  redis.call('ZREM', LATER, id)
end

local function tell(id, event)
  redis.call('XADD', job(id) .. ':events', 'MAXLEN', '~', {MOST_EVENTS}, '*', 'data', event)
end

local function tell_status(id, status)
  local attempt = redis.call('HGET', job(id), 'attempts')
  tell(id, '{{"event":"job","status":"' .. status .. '","attempt":' .. attempt .. '}}')
end

local function held(id, holder) return redis.call('HGET', job(id), 'holder') == holder end

local function finish(id, status, error, seconds)
  local tenant = redis.call('HGET', job(id), 'list')
  local of, ended = root .. ':jobs:of:' .. tenant, root .. ':jobs:ended:' .. tenant
  -- The first write of each step is one that a full server refuses: a step is done whole, or not at all.
  redis.call('HSET', job(id), 'status', status, 'finished', now, 'error', error)
  dequeue(id)
  redis.call('HDEL', job(id), 'holder')
  tell_status(id, status)
  for _, part in ipairs({{'', ':request', ':journal', ':events', ':result'}}) do
    redis.call('EXPIRE', job(id) .. part, seconds)
  end
  redis.call('ZADD', ended, now + seconds * 1000, id)
  if redis.call('ZCARD', of) <= redis.call('ZCARD', ended) then
    redis.call('EXPIRE', of, seconds)
    redis.call('EXPIRE', ended, seconds)
  end
  redis.call('ZADD', UNTOLD, now + {TELL_MS}, id)
end

local function forget(tenant)
  local of, ended = root .. ':jobs:of:' .. tenant, root .. ':jobs:ended:' .. tenant
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', ended, '-inf', now, 'LIMIT', 0, {MOST_AT_ONCE})) do
    redis.call('ZREM', of, id)
    redis.call('ZREM', ended, id)
  end
end
"""
"""What every script begins with."""
