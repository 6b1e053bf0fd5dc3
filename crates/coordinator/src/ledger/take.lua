-- Takes the pen from whom it was seen with, or when nobody has it. From here on the other one writes nothing more.
-- Refused when the ledger is not as it was seen: it was written or lost meanwhile.
--
-- KEYS[1]  the prefix of every key
-- ARGV     new pen, then as seen: pen ("" for none), epoch ("" for none), sequence; then epoch, run, quiet ("1" or "")

local book = KEYS[1] .. 'book'
local seen = redis.call('HMGET', book, 'pen', 'epoch', 'sequence')
if (seen[1] or '') ~= ARGV[2] or (seen[2] or '') ~= ARGV[3] or (seen[3] or '0') ~= ARGV[4] then
  return false
end
local sequence = redis.call('HINCRBY', book, 'sequence', 1)
redis.call('HSET', book, 'pen', ARGV[1], 'epoch', ARGV[5], 'run', ARGV[6], 'quiet', ARGV[7])
return sequence
