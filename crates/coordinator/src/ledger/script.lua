-- The one decision: every change of the ledger is a run of this script over a batch of requests, so that a request over
-- several limits takes all of its slots or none, whoever asks at the same time.
--
-- It must never leave a slot charged less than a worker may still use it, and never let a class wait behind a lent slot
-- longer than that slot's cycle. Time is Redis's own, read once.
--
-- KEYS[1]  the prefix of every key, with the one hash tag
-- ARGV     coordinator id, lease ms, silent ms, quiet-after-loss ms, epoch known ("" when none), then the requests
--
-- limit:<key>         hash  config "capacity spare class:minimum:ceiling ...", version, hold (until ms), sequence (grants),
--                           doubt (slots of silent workers), held / waiting / served / began: one number per class
-- wait:<key>:<class>  zset  lease id -> place in the queue; only where this limit is what the request waits for
-- lease               hash  lease id -> class, state (l live, d in doubt), stream, in-doubt ms, holder, limit keys
-- expiry              zset  lease id -> ms until which it is charged
-- ticket              hash  lease id -> coordinator, class, place, deadline ms, keys of the queues it stands in
-- patience            zset  lease id -> ms at which a ticket that nobody presented again is forgotten
-- seen                zset  coordinator id -> ms of its last call
-- ended:<stream>      text  the stream was seen to end; kept for longer than any lease
-- place               int   the next place in every queue
-- epoch               text  made with the ledger and lost with it; quiet: ms until which nothing is granted

local CLASSES, WATCH = 5, 5
local prefix = KEYS[1]
local me, lifetime, silent = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local at = 5
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

local function take()
  at = at + 1
  return ARGV[at]
end

local function split(text, separator)
  local parts = {}
  for part in string.gmatch(text .. separator, '(.-)' .. separator) do
    parts[#parts + 1] = part
  end
  return parts
end

-- Numbers stay integers: %d would overflow nothing here, but 1e+15 must not appear as text.
local function text(number)
  return string.format('%.0f', number)
end

-- Limits are read once per run and written back at its end.
local limits, touched = {}, {}

local function numbers(packed)
  local list, i = {0, 0, 0, 0, 0}, 0
  for number in string.gmatch(packed or '', '%S+') do
    i = i + 1
    list[i] = tonumber(number)
  end
  return list
end

local function configure(limit, config)
  limit.config, limit.quota, limit.round = config, {}, 0
  local parts = split(config, ' ')
  limit.capacity, limit.spare = tonumber(parts[1]), parts[2] == '1'
  for i = 3, #parts do
    local quota = split(parts[i], ':')
    limit.quota[tonumber(quota[1])] = {minimum = tonumber(quota[2]), ceiling = tonumber(quota[3])}
    limit.round = limit.round + 1
  end
  limit.round = limit.round + limit.capacity
end

local function open(key)
  local limit = limits[key]
  if limit then return limit end
  local row = redis.call('HMGET', prefix .. 'limit:' .. key, 'config', 'version', 'hold', 'sequence', 'doubt', 'held',
    'waiting', 'served', 'began')
  limit = {
    key = key, exists = row[1] ~= false, version = tonumber(row[2] or 0), hold = tonumber(row[3] or 0),
    sequence = tonumber(row[4] or 0), doubt = tonumber(row[5] or 0), held = numbers(row[6]), waiting = numbers(row[7]),
    served = numbers(row[8]), began = numbers(row[9]), was_held_back = row[3] ~= false and row[3] ~= '0',
  }
  configure(limit, row[1] or '0 0')
  limits[key] = limit
  return limit
end

local function sum(list)
  return list[1] + list[2] + list[3] + list[4] + list[5]
end

local function queue(key, class)
  return prefix .. 'wait:' .. key .. ':' .. class
end

local function flush()
  for key, limit in pairs(limits) do
    local name = prefix .. 'limit:' .. key
    if limit.hold <= now then limit.hold = 0 end
    local empty = sum(limit.held) == 0 and sum(limit.waiting) == 0
    if empty and limit.hold == 0 then
      if limit.exists then redis.call('DEL', name) end
    elseif limit.dirty or limit.was_held_back then
      redis.call('HSET', name, 'config', limit.config, 'version', limit.version, 'hold', text(limit.hold),
        'sequence', text(limit.sequence), 'doubt', limit.doubt, 'held', table.concat(limit.held, ' '),
        'waiting', table.concat(limit.waiting, ' '), 'served', table.concat(limit.served, ' '),
        'began', table.concat(limit.began, ' '))
      if empty then
        redis.call('PEXPIREAT', name, text(limit.hold))
      elseif limit.was_held_back then
        redis.call('PERSIST', name)
      end
    end
  end
end

-- Who gets the next slot among the waiting: first a class whose minimum rounds to 0 and that has waited a whole round
-- without a slot, then the class furthest below its minimum, then the one served longest ago.
local function pick(limit, held, waiting, served, sequence, left)
  local best
  for class = 1, CLASSES do
    local quota = limit.quota[class]
    if quota and waiting[class] > 0 and held[class] < quota.ceiling
      and not (class == WATCH and limit.spare and left < 2) then
      local since = math.max(served[class], limit.began[class])
      local mine = {
        class = class, since = since, served = served[class], need = quota.minimum - held[class],
        owed = quota.minimum == 0 and held[class] == 0 and sequence - since >= limit.round,
      }
      local better
      if not best then better = true
      elseif mine.owed ~= best.owed then better = mine.owed
      elseif mine.owed then better = mine.since < best.since
      elseif mine.need ~= best.need then better = mine.need > best.need
      else better = mine.served < best.served end
      if better then best = mine end
    end
  end
  return best and best.class
end

-- Hands out the free slots on paper, in order, and calls `each(class, how many of the class came before)` for each;
-- stops when that returns true.
local function hand_out(limit, waiting, each)
  local held, served, handed = {}, {}, {0, 0, 0, 0, 0}
  for class = 1, CLASSES do
    held[class], served[class] = limit.held[class], limit.served[class]
  end
  local sequence, left = limit.sequence, limit.capacity - sum(held)
  while left > 0 do
    local class = pick(limit, held, waiting, served, sequence, left)
    if not class then return false end
    if each(class, handed[class]) then return true end
    sequence = sequence + 1
    handed[class], held[class], waiting[class] = handed[class] + 1, held[class] + 1, waiting[class] - 1
    served[class], left = sequence, left - 1
  end
  return false
end

-- Whether a request may take a slot of this limit now. `place` is its place in the queues, nil for a new one.
local function fits(limit, class, place)
  local quota = limit.quota[class]
  local left = limit.capacity - sum(limit.held)
  if not quota or left <= 0 or limit.held[class] >= quota.ceiling then return false end
  if class == WATCH and limit.spare and left < 2 then return false end
  if sum(limit.waiting) == 0 then return true end
  local waiting = {}
  for other = 1, CLASSES do waiting[other] = limit.waiting[other] end
  local rank = waiting[class]
  if place then rank = redis.call('ZCOUNT', queue(limit.key, class), '-inf', '(' .. place) end
  if waiting[class] <= rank then waiting[class] = rank + 1 end
  return hand_out(limit, waiting, function(other, before) return other == class and before == rank end)
end

local function ticket_of(id)
  local packed = redis.call('HGET', prefix .. 'ticket', id)
  if not packed then return nil end
  local parts = split(packed, '\t')
  local ticket = {owner = parts[1], class = tonumber(parts[2]), place = parts[3], deadline = tonumber(parts[4]), keys = {}}
  for i = 5, #parts do ticket.keys[parts[i]] = true end
  return ticket
end

local function save_ticket(id, ticket)
  local parts = {ticket.owner, ticket.class, ticket.place, text(ticket.deadline)}
  for key in pairs(ticket.keys) do parts[#parts + 1] = key end
  redis.call('HSET', prefix .. 'ticket', id, table.concat(parts, '\t'))
  redis.call('ZADD', prefix .. 'patience', text(ticket.deadline + silent), id)
end

local function leave(id, ticket, key)
  local limit = open(key)
  local left = redis.call('ZREM', queue(key, ticket.class), id)
  limit.waiting[ticket.class] = math.max(0, limit.waiting[ticket.class] - left)
  limit.dirty, touched[key] = true, true
  ticket.keys[key] = nil
end

local function forget(id, ticket)
  local keys = {}
  for key in pairs(ticket.keys) do keys[#keys + 1] = key end
  for _, key in ipairs(keys) do leave(id, ticket, key) end
  redis.call('HDEL', prefix .. 'ticket', id)
  redis.call('ZREM', prefix .. 'patience', id)
end

local function join(id, ticket, limit)
  if ticket.keys[limit.key] then return end
  local class = ticket.class
  if limit.waiting[class] == 0 then limit.began[class] = limit.sequence end
  limit.waiting[class] = limit.waiting[class] + redis.call('ZADD', queue(limit.key, class), ticket.place, id)
  limit.dirty = true
  ticket.keys[limit.key] = true
end

local function lease_of(id)
  local packed = redis.call('HGET', prefix .. 'lease', id)
  if not packed then return nil end
  local parts = split(packed, '\t')
  local lease = {class = tonumber(parts[1]), state = parts[2], stream = parts[3], doubt = tonumber(parts[4]),
    holder = parts[5], keys = {}}
  for i = 6, #parts do lease.keys[#lease.keys + 1] = parts[i] end
  return lease
end

local function save_lease(id, lease)
  redis.call('HSET', prefix .. 'lease', id, table.concat({lease.class, lease.state, lease.stream, text(lease.doubt),
    lease.holder, table.concat(lease.keys, '\t')}, '\t'))
end

local function free(id, lease)
  redis.call('HDEL', prefix .. 'lease', id)
  redis.call('ZREM', prefix .. 'expiry', id)
  for _, key in ipairs(lease.keys) do
    local limit = open(key)
    limit.held[lease.class] = math.max(0, limit.held[lease.class] - 1)
    if lease.state == 'd' then limit.doubt = math.max(0, limit.doubt - 1) end
    limit.dirty, touched[key] = true, true
  end
end

-- Tickets whose coordinator and worker died together, on limits that nobody asks for any more.
local function forget_the_late()
  local late = redis.call('ZRANGEBYSCORE', prefix .. 'patience', '-inf', '(' .. text(now), 'LIMIT', 0, 256)
  for _, id in ipairs(late) do forget(id, ticket_of(id) or {keys = {}}) end
end

-- A lease that ended unreleased is free when its stream was seen to end: the process is gone, or it cannot renew and
-- has closed its connection at five sixths of the lease. When its worker only went silent, the slot stays charged.
local function expire()
  for _ = 1, 8 do
    local ended = redis.call('ZRANGEBYSCORE', prefix .. 'expiry', '-inf', text(now), 'LIMIT', 0, 256, 'WITHSCORES')
    if #ended == 0 then return end
    for i = 1, #ended, 2 do
      local id, lease = ended[i], lease_of(ended[i])
      local doubt_ends = lease and tonumber(ended[i + 1]) + lease.doubt
      if not lease then
        redis.call('ZREM', prefix .. 'expiry', id)
      elseif lease.state == 'd' or doubt_ends <= now
        or redis.call('EXISTS', prefix .. 'ended:' .. lease.stream) == 1 then
        free(id, lease)
      else
        lease.state = 'd'
        save_lease(id, lease)
        redis.call('ZADD', prefix .. 'expiry', text(doubt_ends), id)
        for _, key in ipairs(lease.keys) do
          local limit = open(key)
          limit.doubt, limit.dirty = limit.doubt + 1, true
        end
      end
    end
  end
end

-- Nothing is granted for a time after the ledger lost its data: its epoch is gone, or is not the one this coordinator
-- knew. The first epoch ever is quiet to nobody.
local function quiet()
  local epoch, known, pause = redis.call('GET', prefix .. 'epoch'), ARGV[5], tonumber(ARGV[4])
  if not epoch then
    epoch = me .. ':' .. text(now)
    redis.call('SET', prefix .. 'epoch', epoch)
  end
  if known ~= '' and known ~= epoch then
    local left = tonumber(split(epoch, ':')[2]) + pause - now
    if left > 0 then redis.call('SET', prefix .. 'quiet', text(now + left), 'PX', text(left)) end
  end
  local ends = tonumber(redis.call('GET', prefix .. 'quiet') or 0)
  return epoch, math.max(0, ends - now)
end

local function alive(ticket)
  if now > ticket.deadline + silent then return false end
  local seen = redis.call('ZSCORE', prefix .. 'seen', ticket.owner)
  return seen and tonumber(seen) + silent >= now
end

local wakes = {}

local function wake(id, ticket)
  if ticket.owner == me then
    wakes[#wakes + 1] = id
  else
    redis.call('PUBLISH', prefix .. 'wake:' .. ticket.owner, id)
  end
end

-- Calls those who may take the free slots now; who does not live any more leaves the queue.
local function call_next(limit)
  for _ = 1, 1000 do
    local waiting, dead = {}, nil
    for class = 1, CLASSES do waiting[class] = limit.waiting[class] end
    local called, calls = {}, 0
    hand_out(limit, waiting, function(class, before)
      local id = redis.call('ZRANGE', queue(limit.key, class), before, before)[1]
      local ticket = id and ticket_of(id)
      if ticket and alive(ticket) then
        called[id], calls = ticket, calls + 1
        return calls >= 256
      end
      dead = {id = id, ticket = ticket, class = class}
      return true
    end)
    if not dead then
      for id, ticket in pairs(called) do wake(id, ticket) end
      return
    end
    if dead.ticket then
      forget(dead.id, dead.ticket)
    else
      if dead.id then redis.call('ZREM', queue(limit.key, dead.class), dead.id) end
      limit.waiting[dead.class], limit.dirty = redis.call('ZCARD', queue(limit.key, dead.class)), true
    end
  end
end

local epoch, quiet_for

local requests = {}

-- acquire id stream again class wait-ms holder in-doubt-ms count (key version config)*
requests.a = function()
  local id, stream, again, class = take(), take(), take() == '1', tonumber(take())
  local wait, holder, doubt, wanted = tonumber(take()), take(), tonumber(take()), {}
  local held_back, held_key = 0, ''
  for i = 1, tonumber(take()) do
    local limit, version, config = open(take()), tonumber(take()), take()
    if limit.config ~= config and version >= limit.version then
      configure(limit, config)
      limit.version, limit.dirty, touched[limit.key] = version, true, true
    end
    if limit.hold - now > held_back then held_back, held_key = limit.hold - now, limit.key end
    wanted[i] = limit
  end
  local ticket
  if again then
    local lease = lease_of(id)
    if lease then
      if lease.state == 'd' then
        for _, key in ipairs(lease.keys) do
          local limit = open(key)
          limit.doubt, limit.dirty = math.max(0, limit.doubt - 1), true
        end
      end
      lease.state, lease.stream = 'l', stream
      save_lease(id, lease)
      redis.call('ZADD', prefix .. 'expiry', text(now + lifetime), id)
      return 'granted'
    end
    ticket = ticket_of(id)
  end
  if quiet_for > 0 or held_back > 0 then
    if ticket then forget(id, ticket) end
    if quiet_for > 0 then return 'quiet ' .. text(quiet_for) end
    return 'held ' .. text(held_back) .. ' ' .. held_key
  end
  local fitting, full, all = {}, nil, true
  for i, limit in ipairs(wanted) do
    fitting[i] = fits(limit, class, ticket and ticket.place)
    if not fitting[i] then all, full = false, full or limit.key end
  end
  if all then
    local lease = {class = class, state = 'l', stream = stream, doubt = doubt, holder = holder, keys = {}}
    if ticket then forget(id, ticket) end
    for i, limit in ipairs(wanted) do
      limit.sequence = limit.sequence + 1
      limit.held[class], limit.served[class], limit.dirty = limit.held[class] + 1, limit.sequence, true
      lease.keys[i] = limit.key
    end
    save_lease(id, lease)
    redis.call('ZADD', prefix .. 'expiry', text(now + lifetime), id)
    return 'granted'
  end
  if wait <= 0 then
    if ticket then forget(id, ticket) end
    return 'full ' .. full
  end
  if not ticket then
    ticket = {class = class, place = text(redis.call('INCR', prefix .. 'place')), keys = {}}
  end
  ticket.owner, ticket.deadline = me, now + wait
  for i, limit in ipairs(wanted) do
    if not fitting[i] then
      join(id, ticket, limit)
    elseif ticket.keys[limit.key] then
      leave(id, ticket, limit.key)
    end
  end
  save_ticket(id, ticket)
  return 'waiting'
end

-- renew id stream
requests.n = function()
  local id, stream = take(), take()
  local lease = lease_of(id)
  if not lease or lease.state == 'd' then return 'lost' end
  if lease.stream ~= stream then
    lease.stream = stream
    save_lease(id, lease)
  end
  redis.call('ZADD', prefix .. 'expiry', text(now + lifetime), id)
  return 'renewed'
end

-- release id stream: a lease, or the place in the queue. With a stream, only what is still bound to that stream or
-- to this coordinator: a grant or a ticket that nobody was there to hear of.
requests.r = function()
  local id, stream = take(), take()
  local lease = lease_of(id)
  if lease then
    if stream ~= '' and lease.stream ~= stream then return 'kept' end
    free(id, lease)
    return 'freed'
  end
  local ticket = ticket_of(id)
  if ticket and (stream == '' or ticket.owner == me) then
    forget(id, ticket)
    return 'left'
  end
  return 'unknown'
end

-- ended stream
requests.e = function()
  redis.call('SET', prefix .. 'ended:' .. take(), '1', 'PX', text(2 * lifetime + 60000))
  return 'noted'
end

-- back off key ms: everyone in the queue hears of it at once
requests.b = function()
  local limit, pause = open(take()), tonumber(take())
  limit.hold = math.max(limit.hold, now + pause)
  limit.dirty = true
  for class = 1, CLASSES do
    if limit.waiting[class] > 0 then
      for _, id in ipairs(redis.call('ZRANGE', queue(limit.key, class), 0, 255)) do
        local ticket = ticket_of(id)
        if ticket then wake(id, ticket) end
      end
    end
  end
  return 'noted'
end

-- poke key: look again, because a wake may have been lost
requests.p = function()
  touched[open(take()).key] = true
  return 'noted'
end

local results = {}

local function run()
  redis.call('ZADD', prefix .. 'seen', text(now), me)
  redis.call('ZREMRANGEBYSCORE', prefix .. 'seen', '-inf', text(now - 3600000))
  epoch, quiet_for = quiet()
  expire()
  forget_the_late()
  while at < #ARGV do
    results[#results + 1] = requests[take()]()
  end
  -- Forgetting the dead touches other limits, so go on until nothing is touched.
  local key = next(touched)
  while key do
    touched[key] = nil
    local limit = open(key)
    if sum(limit.waiting) > 0 then call_next(limit) end
    key = next(touched)
  end
end

-- Whatever happens, what was changed is charged.
local fine, problem = pcall(run)
flush()
if not fine then
  return redis.error_reply('ERR ledger: ' .. tostring(type(problem) == 'table' and problem.err or problem))
end
return {epoch, results, wakes}
