-- claim: gives each digest to the first task that asks for it
-- KEYS   1 job, then buckets (digest -> task)
-- ARGV   1 task  2 when a new bucket expires, in ms, then for each bucket its digests: 16 bytes each, end to end
-- gives  a text with 1 for each digest of this task and 0 for each of another, in order; nothing if the job is not running
if redis.call('HGET', KEYS[1], 'state') ~= 'running' then return false end
local answers = {}
for bucket = 2, #KEYS do
  local key, digests = KEYS[bucket], ARGV[bucket + 1]
  local fresh = redis.call('EXISTS', key) == 0
  for at = 1, #digests, 16 do
    local digest = digests:sub(at, at + 15)
    local mine = redis.call('HSETNX', key, digest, ARGV[1]) == 1 or redis.call('HGET', key, digest) == ARGV[1]
    answers[#answers + 1] = mine and '1' or '0'
  end
  if fresh then redis.call('PEXPIRE', key, ARGV[2]) end
end
return table.concat(answers)
