-- Puts everything that the holder of the pen remembers in the place of what Redis has, under a new pen. Refused when
-- somebody else took the pen, and when the ledger is not as it was seen: it was lost meanwhile, maybe with another's pen.
--
-- KEYS[1]  the prefix of every key
-- ARGV     new pen, then as seen: pen ("" for none), sequence; then epoch, run, quiet, sequence, the keys that hold
--          the leases and what is spent of rates, then (limit key, ms)* held back

local prefix = KEYS[1]
local seen = redis.call('HMGET', prefix .. 'book', 'pen', 'sequence')
if (seen[1] or '') ~= ARGV[2] or (seen[2] or '0') ~= ARGV[3] then
  return (seen[1] and seen[1] ~= ARGV[2]) and 'another' or 'moved'
end
redis.call('DEL', prefix .. 'lease', prefix .. 'hold', prefix .. 'rate')
local function put(name, staged)
  if redis.call('EXISTS', staged) == 1 then
    redis.call('RENAME', staged, prefix .. name)
    redis.call('PERSIST', prefix .. name)
  end
end
put('lease', ARGV[8])
put('rate', ARGV[9])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
for i = 10, #ARGV, 2 do
  redis.call('HSET', prefix .. 'hold', ARGV[i], string.format('%.0f', now + tonumber(ARGV[i + 1])))
end
redis.call('HSET', prefix .. 'book', 'pen', ARGV[1], 'epoch', ARGV[4], 'run', ARGV[5], 'quiet', ARGV[6], 'sequence', ARGV[7])
return 'done'
