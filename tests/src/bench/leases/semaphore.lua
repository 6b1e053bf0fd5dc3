-- Leases by a script alone, as peers keep them: a sorted set of lease ids by their ends for each limit. The same id twice
-- acquires and releases, so that redis-benchmark can run it: two calls are a lease over a server's limit and a mailbox's.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local id = ARGV[1]
local server = '{b}s:' .. (tonumber(id) % tonumber(ARGV[2]))
local mailbox = '{b}m:' .. id
if redis.call('ZREM', server, id) == 1 then
  redis.call('ZREM', mailbox, id)
  return 0
end
redis.call('ZREMRANGEBYSCORE', server, '-inf', now)
redis.call('ZREMRANGEBYSCORE', mailbox, '-inf', now)
if redis.call('ZCARD', server) >= 100 or redis.call('ZCARD', mailbox) >= 1 then
  return -1
end
redis.call('ZADD', server, now + 30000, id)
redis.call('ZADD', mailbox, now + 30000, id)
return 1
