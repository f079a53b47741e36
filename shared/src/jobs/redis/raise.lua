-- raise: moves a job in the index to a later time, unless somebody has moved it since it was taken
-- KEYS   1 index of all jobs
-- ARGV   1 job  2 the time that `take` gave it  3 the later time
-- gives  1 if it did, 0 if not
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or tonumber(score) ~= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
return 1
