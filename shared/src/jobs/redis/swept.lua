-- swept: a job that ended in a state, and is in it still, is next looked at when it expires
-- KEYS   1 job
-- ARGV   1 the state
-- gives  1 if the job is at that end, 0 if not
local state, ended = unpack(redis.call('HMGET', KEYS[1], 'state', 'ended_at'))
if not ended or state ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'swept', 1)
return 1
