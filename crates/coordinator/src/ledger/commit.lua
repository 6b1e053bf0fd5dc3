-- Writes a batch down, if this coordinator still holds the pen and Redis still has all that was written before.
--
-- KEYS[1]  the prefix of every key, with the one hash tag
-- ARGV     pen, sequence before, quiet ("1" or ""), numbers of leases written, leases erased, holds and rates, then
--          those: (id record)*, id*, (key ms)*, (key record)*
--
-- book    hash  epoch, run (the Redis that it was last seen in), pen, sequence (how many batches), quiet
-- lease   hash  lease id -> record
-- hold    hash  limit key -> ms by Redis's clock until which it is held back
-- rate    hash  rate key -> what is spent of it, each with for how long it counted yet when that was written

local prefix = KEYS[1]
local book = redis.call('HMGET', prefix .. 'book', 'pen', 'sequence')
if book[1] ~= ARGV[1] or book[2] ~= ARGV[2] then
  return 0
end
local at, written, erased, holds = 8, tonumber(ARGV[4]) * 2, tonumber(ARGV[5]), tonumber(ARGV[6])
local rates = tonumber(ARGV[7])

-- Lua hands over only so many values at once.
local function each(command, count)
  while count > 0 do
    local part = math.min(count, 4000)
    redis.call(command, prefix .. 'lease', unpack(ARGV, at, at + part - 1))
    at, count = at + part, count - part
  end
end

each('HSET', written)
each('HDEL', erased)
if holds > 0 then
  local clock = redis.call('TIME')
  local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
  for i = at, at + 2 * holds - 1, 2 do
    local pause = tonumber(ARGV[i + 1])
    if pause > 0 then
      redis.call('HSET', prefix .. 'hold', ARGV[i], string.format('%.0f', now + pause))
    else
      redis.call('HDEL', prefix .. 'hold', ARGV[i])
    end
  end
end
at = at + 2 * holds
for i = at, at + 2 * rates - 1, 2 do
  if ARGV[i + 1] ~= '' then
    redis.call('HSET', prefix .. 'rate', ARGV[i], ARGV[i + 1])
  else
    redis.call('HDEL', prefix .. 'rate', ARGV[i])
  end
end
redis.call('HSET', prefix .. 'book', 'sequence', string.format('%.0f', tonumber(ARGV[2]) + 1), 'quiet', ARGV[3])
return 1
