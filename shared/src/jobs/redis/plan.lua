-- plan: stores how a job was cut, if nobody has done so, and opens the tasks of its window
-- KEYS   1 job  2 tasks  3 due
-- ARGV   1 transaction time  2 window  3 due  4 buckets of claims, then the kinds of tasks 1, 2, ...
-- gives  {the open tasks, each due at ARGV[3] now, and their kinds}; none if the job is unknown or at its end
if redis.call('HGET', KEYS[1], 'state') == 'accepted' then
  local tasks = #ARGV - 4
  local window = math.min(tasks, tonumber(ARGV[2]))
  for task = 1, tasks do redis.call('HSET', KEYS[2], task, ARGV[task + 4]) end
  for task = 1, window do redis.call('ZADD', KEYS[3], ARGV[3], task) end
  redis.call('ZREM', KEYS[3], 0)
  redis.call('HSET', KEYS[1], 'state', 'running', 'transaction_time', ARGV[1], 'buckets', ARGV[4],
    'tasks', tasks + 1, 'done', 1, 'opened', window)
end
local open = redis.call('ZRANGE', KEYS[3], 0, -1)
local kinds = {}
for at, task in ipairs(open) do
  redis.call('ZADD', KEYS[3], ARGV[3], task)
  kinds[at] = redis.call('HGET', KEYS[2], task)
end
return {open, kinds}
