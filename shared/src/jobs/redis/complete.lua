-- complete: the first attempt that completes a task wins, opens the next ones, or ends the job with the last one
-- KEYS   1 job  2 tasks  3 due  4 attempts  5 done (task -> winning attempt, blank, order of completion, blank, what it wrote)
-- ARGV   1 task  2 attempt  3 what it wrote  4 lines  5 now  6 expires  7 how long the record stays, in ms
--        8 due time of what is opened  9 how many may be open  10 how many are opened at most
-- gives  {whether it won, whether the job is completed by this, the tasks that were opened, their kinds}
local state, last = unpack(redis.call('HMGET', KEYS[1], 'state', 'last'))
local winner = redis.call('HGET', KEYS[5], ARGV[1])
if winner then return {winner:match('^%d+') == ARGV[2] and 1 or 0, last == ARGV[1] and 1 or 0, {}, {}} end
if state ~= 'running' or redis.call('ZREM', KEYS[3], ARGV[1]) == 0 then return {0, 0, {}, {}} end
local done = redis.call('HINCRBY', KEYS[1], 'done', 1)
redis.call('HSET', KEYS[5], ARGV[1], ARGV[2] .. ' ' .. done .. ' ' .. ARGV[3])
redis.call('HINCRBY', KEYS[1], 'lines', ARGV[4])
local tasks, opened = unpack(redis.call('HMGET', KEYS[1], 'tasks', 'opened'))
local room = math.min(ARGV[9] - redis.call('ZCARD', KEYS[3]), ARGV[10], tasks - 1 - opened)
local next, kinds = {}, {}
for at = 1, room do
  next[at] = redis.call('HINCRBY', KEYS[1], 'opened', 1)
  redis.call('ZADD', KEYS[3], ARGV[8], next[at])
  kinds[at] = redis.call('HGET', KEYS[2], next[at])
end
if done < tonumber(tasks) then return {1, 0, next, kinds} end
redis.call('HSET', KEYS[1], 'state', 'completed', 'last', ARGV[1], 'ended_at', ARGV[5], 'expires_at', ARGV[6],
  'look', ARGV[5], 'swept', 0)
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[7]) end
return {1, 1, {}, {}}
