-- start: counts an attempt at an open task, or repeats the answer to the latest start
-- KEYS   1 job  2 tasks  3 due  4 attempts (task -> starts, and task:uncounted, task:token, task:kept)
-- ARGV   1 task  2 how many starts may count  3 due  4 token of this start  5 now  6 the version of records we read
-- gives  nothing if the task is not open, or is exhausted with somebody at work; {0, counted} if it was started too often;
--        {0, 0} if the job was recorded by another version; else {attempt, counted, kind, request, transaction time or ''}
local task = ARGV[1]
if not redis.call('ZSCORE', KEYS[3], task) then return false end
local version = tonumber(redis.call('HGET', KEYS[1], 'version'))
if version and version ~= tonumber(ARGV[6]) then return {0, 0, '', '', ''} end
local starts, uncounted, token, kept = unpack(redis.call('HMGET', KEYS[4],
  task, task .. ':uncounted', task .. ':token', task .. ':kept'))
-- The attempt is the number of starts, counted or not: no two attempts may share the names of their objects.
local attempt, uncounted = tonumber(starts or 0), tonumber(uncounted or 0)
if token ~= ARGV[4] then
  if attempt - uncounted >= tonumber(ARGV[2]) then
    if kept and tonumber(kept) > tonumber(ARGV[5]) then return false end
    return {0, attempt - uncounted, '', '', ''}
  end
  attempt = redis.call('HINCRBY', KEYS[4], task, 1)
end
redis.call('HSET', KEYS[4], task .. ':token', ARGV[4], task .. ':kept', ARGV[3])
redis.call('ZADD', KEYS[3], ARGV[3], task)
local job = redis.call('HMGET', KEYS[1], 'request', 'transaction_time')
return {attempt, attempt - uncounted, redis.call('HGET', KEYS[2], task), job[1], job[2] or ''}
