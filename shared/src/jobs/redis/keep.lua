-- keep: pushes the due time of an open task that is worked on
-- KEYS   1 due  2 attempts
-- ARGV   1 task  2 due
-- gives  1 if the task is open, 0 if not
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1] .. ':kept', ARGV[2])
return 1
