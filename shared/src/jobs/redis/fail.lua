-- fail: ends the job of an open task as failed
-- KEYS   1 job  2 tasks  3 due  4 attempts  5 done
-- ARGV   1 failure  2 now  3 expires  4 how long the record stays, in ms  5 task
-- gives  1 if this call ended it, 0 if not
if not redis.call('ZSCORE', KEYS[3], ARGV[5]) then return 0 end
redis.call('HSET', KEYS[1], 'state', 'failed', 'failure', ARGV[1], 'ended_at', ARGV[2], 'expires_at', ARGV[3],
  'look', ARGV[2], 'swept', 0)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('UNLINK', unpack(KEYS, 2))
return 1
