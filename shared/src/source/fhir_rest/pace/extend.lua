-- extend: has the pause of a server last for a time from now on, if it does not last longer already
-- KEYS   1 pause
-- ARGV   1 how long, in ms
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], '1', 'PX', ARGV[1]) end
