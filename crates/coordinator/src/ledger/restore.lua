-- Puts everything that the holder of the pen remembers in the place of what Redis has, under a new pen. Refused when
-- somebody else took the pen.
--
-- KEYS[1]  the prefix of every key
-- ARGV     new pen, old pen, epoch, run, quiet, sequence, the key that holds the leases, then (limit key, ms)* held back

local prefix = KEYS[1]
local pen = redis.call('HGET', prefix .. 'book', 'pen')
if pen and pen ~= ARGV[2] then
  return 0
end
redis.call('DEL', prefix .. 'lease', prefix .. 'hold')
if redis.call('EXISTS', ARGV[7]) == 1 then
  redis.call('RENAME', ARGV[7], prefix .. 'lease')
  redis.call('PERSIST', prefix .. 'lease')
end
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
for i = 8, #ARGV, 2 do
  redis.call('HSET', prefix .. 'hold', ARGV[i], string.format('%.0f', now + tonumber(ARGV[i + 1])))
end
redis.call('HSET', prefix .. 'book', 'pen', ARGV[1], 'epoch', ARGV[3], 'run', ARGV[4], 'quiet', ARGV[5], 'sequence', ARGV[6])
return 1
