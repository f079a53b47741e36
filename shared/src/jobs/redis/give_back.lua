-- give_back: pushes the due time of an open task, and counts one start less if asked to
-- KEYS   1 due  2 attempts
-- ARGV   1 task  2 due  3 1 if a start is not to count, else 0
-- gives  1 if the task is open, 0 if not
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1] .. ':kept')
local starts = redis.call('HMGET', KEYS[2], ARGV[1], ARGV[1] .. ':uncounted')
if ARGV[3] == '1' and (starts[1] or 0) - (starts[2] or 0) > 0 then
  redis.call('HINCRBY', KEYS[2], ARGV[1] .. ':uncounted', 1)
end
return 1
