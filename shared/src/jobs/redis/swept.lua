-- swept: an ended job is next looked at when it expires
-- KEYS   1 job
-- gives  1 if the job is at its end, 0 if not
if redis.call('HEXISTS', KEYS[1], 'ended_at') == 0 then return 0 end
redis.call('HSET', KEYS[1], 'swept', 1)
return 1
