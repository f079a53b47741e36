-- look: what a job needs; what is handed out is not due again before ARGV[2]
-- KEYS   1 job  2 tasks  3 due
-- ARGV   1 now  2 again  3 the version of records we read
-- gives  {chore, when somebody must look again, the tasks to publish, their kinds, the trace of the job}; chore is none,
--        publish, sweep or remove; nothing if the job is unknown. What another version has recorded needs a janitor of that version, until it
--        has expired: to remove it takes no more than the fields that every version has.
local state, look, swept, expires, version, trace =
  unpack(redis.call('HMGET', KEYS[1], 'state', 'look', 'swept', 'expires_at', 'version', 'trace'))
local now, again = tonumber(ARGV[1]), tonumber(ARGV[2])
if not state then return false end
version = tonumber(version)
if version and version ~= tonumber(ARGV[3]) and not (expires and tonumber(expires) <= now) then
  return {'none', ARGV[2], {}, {}, false}
end
if not expires then
  local tasks, kinds = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', ARGV[1]), {}
  for at, task in ipairs(tasks) do
    redis.call('ZADD', KEYS[3], ARGV[2], task)
    kinds[at] = redis.call('HGET', KEYS[2], task)
  end
  local first = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2]
  -- Not later than `again`: a task that is opened between this script and the next step must not be overlooked.
  if not first or tonumber(first) > again then first = ARGV[2] end
  return {#tasks > 0 and 'publish' or 'none', first, tasks, kinds, trace}
end
if swept == '1' and tonumber(expires) > tonumber(look) then look = expires end
if tonumber(look) > now then return {'none', look, {}, {}, false} end
redis.call('HSET', KEYS[1], 'look', ARGV[2])
if tonumber(expires) <= now then return {'remove', ARGV[2], {}, {}, false} end
return {'sweep', ARGV[2], {}, {}, false}
