/**
 * The operations on a session's record as scripts: a server runs each one as a single step, by its own clock. Redis from
 * 7.0 and Valkey replicate what a script changed, not the script, so that a replica has the same times.
 *
 * A record is a hash, which holds what is short, a string with the content, which may expire before it, and a string with
 * what `begin` wrote: names on the first line, details on the rest. Fields of up to 64 bytes keep the hash compact. The
 * three expire together, or the content earlier.
 */
import { createHash } from 'node:crypto';

export interface Script {
  readonly source: string;
  readonly sha: string;
}

/** `flags` let a sign-out be written where memory is used up, and keep replicas from answering with old records. */
function script(body: string, flags = ''): Script {
  const source = `#!lua${flags}\n${body}`;
  return { source, sha: createHash('sha1').update(source).digest('hex') };
}

const clock = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`;

const record = `
${clock}
local session, content, details = KEYS[1], KEYS[2], KEYS[3]
local stored = redis.call('HMGET', session,
  'ended', 'generation', 'confirmedAt', 'activeAt', 'owner', 'leaseEndsAt', 'lease', 'interrupted', 'contentEndsAt', 'listedUntil',
  'oldestServed', 'graceGeneration', 'graceEndsAt')
local ended, confirmedAt, activeAt = stored[1], stored[3], stored[4]
local exists, generation = stored[2], tonumber(stored[2] or 0)
local owner, leaseEndsAt, lease, interrupted = stored[5], tonumber(stored[6] or 0), tonumber(stored[7] or 0), stored[8]
local contentEndsAt, listedUntil = tonumber(stored[9] or math.huge), tonumber(stored[10] or math.huge)
local oldestServed, graceGeneration, graceEndsAt = tonumber(stored[11] or 0), tonumber(stored[12]), tonumber(stored[13])

-- The grace period of older cookies: of the newest generation, or of an earlier one whose period goes on.
local isGraceOver = confirmedAt and contentEndsAt <= now
if isGraceOver then
  oldestServed, graceGeneration = generation, nil
elseif graceGeneration and graceEndsAt <= now then
  oldestServed, graceGeneration = graceGeneration, nil
end

local function ago(at)
  return at and math.max(0, now - at)
end

local function found()
  return { ended, generation, exists and redis.call('GET', content), ago(confirmedAt), ago(activeAt), oldestServed }
end

-- Lets the record live as long as this, at least. Names under which it would no longer be listed then, or false.
local function prolong(ttl)
  redis.call('HSETNX', session, 'generation', 0)
  local expiry = now + ttl
  if redis.call('PEXPIRETIME', session) >= expiry then return false end
  redis.call('PEXPIREAT', session, expiry)
  redis.call('PEXPIREAT', details, expiry)
  redis.call('PEXPIREAT', content, math.min(expiry, contentEndsAt))
  local begun = expiry > listedUntil and redis.call('GET', details)
  return begun and string.match(begun, '^[^\\n]*')
end

local function keep(text)
  redis.call('SET', content, text, 'PXAT', redis.call('PEXPIRETIME', session))
end

local function endClaim()
  redis.call('HDEL', session, 'owner', 'leaseEndsAt', 'lease', 'interrupted')
end

-- Goes on to a generation of which nothing more is known.
local function raise(to)
  if generation ~= to then
    redis.call('DEL', content)
    redis.call('HDEL', session, 'confirmedAt', 'contentEndsAt', 'graceGeneration', 'graceEndsAt')
    redis.call('HSET', session, 'generation', to, 'oldestServed', oldestServed)
    if confirmedAt and not isGraceOver and not graceGeneration then
      graceGeneration, graceEndsAt = generation, contentEndsAt
    end
    if graceGeneration then
      redis.call('HSET', session, 'graceGeneration', graceGeneration, 'graceEndsAt', graceEndsAt)
    end
  end
  endClaim()
end
`;

export const look = script(`${record} return found()`, ' flags=allow-oom');

/** ttl, listed ttl, names and details, content if any */
export const begin = script(`
${record}
prolong(ARGV[1])
if ended then return end
redis.call('SET', details, ARGV[3], 'PXAT', redis.call('PEXPIRETIME', session))
redis.call('HSET', session, 'listedUntil', now + ARGV[2])
if ARGV[4] and generation == 0 and not confirmedAt then keep(ARGV[4]) end
`);

/**
 * ttl, generation, owner, lease. A lease that lasts longer than it can is of a server whose clock was ahead, before a
 * failover: it counts as over, so that it blocks nobody for hours.
 */
export const claim = script(`
${record}
local unlisted = prolong(ARGV[1])
local claimed = tonumber(ARGV[2])
if ended or generation > claimed then return { unlisted, 'settled', found() } end
local earlier = generation == claimed and owner
local isRenewal = earlier == ARGV[3]
local left = leaseEndsAt - now
if earlier and not isRenewal and left > 0 and left <= 2 * lease then return { unlisted, 'held', left } end
local spent = earlier and (not isRenewal or interrupted == '1')
raise(claimed)
redis.call('HSET', session,
  'owner', ARGV[3], 'leaseEndsAt', now + ARGV[4], 'lease', ARGV[4], 'interrupted', spent and 1 or 0)
return { unlisted, 'granted', spent and 1 or 0 }
`);

/** generation, owner, whether interrupted, channel, message */
export const release = script(
  `
${record}
if not exists or generation ~= tonumber(ARGV[1]) or owner ~= ARGV[2] then return end
endClaim()
if ARGV[3] == '1' then redis.call('HSET', session, 'owner', '', 'interrupted', 1) end
redis.call('PUBLISH', ARGV[4], ARGV[5])
`,
  ' flags=allow-oom',
);

/** ttl, generation, content, channel, message */
export const advance = script(`
${record}
local unlisted = prolong(ARGV[1])
local next = tonumber(ARGV[2])
if ended or generation >= next then
  local isRepeated = generation == next and redis.call('GET', content) == ARGV[3]
  return { unlisted, not isRepeated and found() }
end
raise(next)
keep(ARGV[3])
redis.call('PUBLISH', ARGV[4], ARGV[5])
return { unlisted, false }
`);

/** generation, grace */
export const confirm = script(`
${record}
if not exists or generation ~= tonumber(ARGV[1]) or confirmedAt then return end
local endsAt = now + ARGV[2]
redis.call('HSET', session, 'confirmedAt', now, 'contentEndsAt', endsAt)
redis.call('PEXPIREAT', content, math.min(redis.call('PEXPIRETIME', session), endsAt))
`);

/** ttl */
export const touch = script(`
${record}
local unlisted = prolong(ARGV[1])
if not ended then redis.call('HSET', session, 'activeAt', now) end
return { unlisted }
`);

/** ttl, reason, channel, message */
export const end = script(
  `
${record}
prolong(ARGV[1])
if ended then return 0 end
redis.call('HSET', session, 'ended', ARGV[2])
redis.call('HDEL', session, 'listedUntil')
redis.call('DEL', content, details)
endClaim()
redis.call('PUBLISH', ARGV[3], ARGV[4])
return 1
`,
  ' flags=allow-oom',
);

/** What `begin` wrote of a session that goes on. */
export const describe = script(
  `${record}
local begun = redis.call('GET', details)
if not begun then return false end
return { string.match(begun, '\\n(.*)'), ago(activeAt) }
`,
  ' flags=allow-oom',
);

/** Notes until when a session is listed. listed ttl */
export const noteListed = script(`
${record}
if exists and not ended then redis.call('HSET', session, 'listedUntil', now + ARGV[1]) end
`);

/** Lists a session under a name. session, ttl */
export const enlist = script(`
${clock}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], 'GT', now + ARGV[2], ARGV[1])
redis.call('PEXPIREAT', KEYS[1], tonumber(redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]))
`);

/** The epoch that a server is in, which begins where it has none. new epoch, ttl */
export const epoch = script(
  `
${clock}
local known = redis.call('GET', KEYS[1])
if not known then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
elseif redis.call('PEXPIRETIME', KEYS[1]) < now + ARGV[2] / 2 then
  redis.call('PEXPIREAT', KEYS[1], now + ARGV[2])
end
return known or ARGV[1]
`,
  ' flags=allow-oom',
);

/** before, reason, ttl, channel, message */
export const revoke = script(
  `
${clock}
local earlier = redis.call('GET', KEYS[1])
local before = earlier and tonumber(string.match(earlier, '^%S*'))
local latest = before and before >= tonumber(ARGV[1]) and earlier or ARGV[1] .. ' ' .. ARGV[2]
redis.call('SET', KEYS[1], latest, 'PXAT', math.max(now + ARGV[3], redis.call('PEXPIRETIME', KEYS[1])))
redis.call('PUBLISH', ARGV[4], ARGV[5])
`,
  ' flags=allow-oom',
);
