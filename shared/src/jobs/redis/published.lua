-- published: pushes the due time of an open task that was never started
-- KEYS   1 due  2 attempts
-- ARGV   1 task  2 due
-- gives  1 if it did, 0 if not
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then return 0 end
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
return 1
