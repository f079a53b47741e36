-- create: records a job with its plan task, once
-- KEYS   1 job  2 tasks  3 due
-- ARGV   1 due time of the plan  2 its kind, then the names and values of the fields of the job
-- gives  1 if this call recorded the job, 0 if it was there
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
redis.call('HSET', KEYS[2], 0, ARGV[2])
redis.call('ZADD', KEYS[3], ARGV[1], 0)
return 1
