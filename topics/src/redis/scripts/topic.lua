-- What the scripts of a topic begin with. KEYS: meta, log, ids, ages: one hash tag.
-- Numbers are doubles: an offset is below 2^53.
local META, LOG, IDS, AGES = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local epoch, first, last, mark, horizon, closed, time, top, gone = unpack(redis.call('HMGET', META,
  'epoch', 'first', 'last', 'mark', 'horizon', 'closed', 'time', 'top', 'gone'))
if epoch then
  first, last, horizon, time =
    tonumber(first), tonumber(last), tonumber(horizon), tonumber(time)
end

local function text(number)
  return string.format('%.0f', number)
end

local function offset_of(id)
  return tonumber(string.match(id, '^%d+'))
end

local function bounds(status)
  return {status, epoch, text(first), text(last), mark, text(horizon), closed}
end

-- The id that was last added to the log, also if that record is gone.
local function last_generated()
  local info = redis.call('XINFO', 'STREAM', LOG)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      return info[i + 1]
    end
  end
end

-- Whether the log is the one that the meta describes. `newest` is the last record that is held, if
-- the caller knows it. XINFO answers whole records, so it is asked only if that one is gone.
local function is_intact(newest)
  if not epoch then
    return false
  end
  if top == '' then
    return redis.call('EXISTS', LOG) == 0
  end
  newest = newest or redis.call('XREVRANGE', LOG, '+', '-', 'COUNT', 1)[1]
  if newest and newest[1] == top then
    return true
  end
  return redis.call('EXISTS', LOG) == 1 and last_generated() == top
end

