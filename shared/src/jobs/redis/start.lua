-- start: counts an attempt at an open task
-- KEYS   1 job  2 tasks  3 due  4 attempts (task -> starts, task:uncounted -> starts that do not count)
-- ARGV   1 task  2 how many starts may count  3 due
-- gives  nothing if the task is not open; {0, counted} if it was started too often;
--        else {attempt, counted, kind, request, transaction time or ''}
if not redis.call('ZSCORE', KEYS[3], ARGV[1]) then return false end
local starts = redis.call('HMGET', KEYS[4], ARGV[1], ARGV[1] .. ':uncounted')
local counted = (starts[1] or 0) - (starts[2] or 0)
if counted >= tonumber(ARGV[2]) then return {0, counted, '', '', ''} end
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[1])
-- The attempt is the number of starts, counted or not: no two attempts may share the names of their objects.
local attempt = redis.call('HINCRBY', KEYS[4], ARGV[1], 1)
local job = redis.call('HMGET', KEYS[1], 'request', 'transaction_time')
return {attempt, counted + 1, redis.call('HGET', KEYS[2], ARGV[1]), job[1], job[2] or ''}
