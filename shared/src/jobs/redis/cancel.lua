-- cancel: ends a job as cancelled, whether it is alive or at another end
-- KEYS   1 job  2 tasks  3 due  4 attempts  5 done
-- ARGV   1 now  2 expires  3 how long the record stays, in ms
-- gives  1 if this call cancelled it, 0 if not
local state = redis.call('HGET', KEYS[1], 'state')
if not state or state == 'cancelled' then return 0 end
redis.call('HSET', KEYS[1], 'state', 'cancelled', 'ended_at', ARGV[1], 'expires_at', ARGV[2],
  'look', ARGV[1], 'swept', 0)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('UNLINK', unpack(KEYS, 2))
return 1
