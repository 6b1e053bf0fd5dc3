-- Takes the pen from whom it was seen with, or when nobody has it. From here on the other one writes nothing more.
--
-- KEYS[1]  the prefix of every key
-- ARGV     new pen, the pen seen ("" for none), epoch, run, quiet ("1" or "")

local book = KEYS[1] .. 'book'
if (redis.call('HGET', book, 'pen') or '') ~= ARGV[2] then
  return false
end
local sequence = redis.call('HINCRBY', book, 'sequence', 1)
redis.call('HSET', book, 'pen', ARGV[1], 'epoch', ARGV[3], 'run', ARGV[4], 'quiet', ARGV[5])
return sequence
