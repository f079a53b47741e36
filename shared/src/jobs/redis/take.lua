-- take: hands out jobs that somebody must look at, none of them again before ARGV[2]
-- KEYS   1 index of all jobs
-- ARGV   1 now  2 again  3 how many at most
-- gives  the jobs
local jobs = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])
for _, job in ipairs(jobs) do redis.call('ZADD', KEYS[1], ARGV[2], job) end
return jobs
