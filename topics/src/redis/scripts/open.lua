-- ARGV: a new epoch, a new mark, whether it may be created, channel, wake-up.
-- The answer: `ok`, or `new` if the topic has a new epoch, and the bounds. Or `unknown`.
local new_epoch, new_mark, create, channel, wake_up = unpack(ARGV)
if is_intact() then
  return bounds('ok')
end
local is_held = redis.call('EXISTS', LOG) == 1
if not epoch and not is_held then
  -- `lost`: the caller has used the topic. If it was not deleted, the store has lost it.
  if create == 'never' or create == 'lost' and gone then
    return {'unknown'}
  end
end

-- The numbers go on behind all that were given, as far as that is known, and what is held stays.
last = epoch and last or 0
top = ''
mark = new_mark
if is_held then
  local id = last_generated()
  local highest = offset_of(id)
  if highest < 2 ^ 52 then
    top = id
    if highest >= last then
      last = highest
      local known = tonumber(string.match(id, '%d+$'))
      if known > 0 and known < 2 ^ 32 then
        mark = text(known)
      end
    end
  else
    -- Nothing could follow it.
    redis.call('UNLINK', LOG)
  end
end
if last == 0 then
  mark = '0'
end
local oldest = redis.call('XRANGE', LOG, '1', '+', 'COUNT', 1)[1]
first = oldest and math.max(epoch and first or 1, offset_of(oldest[1])) or last + 1
local is_new = not epoch and not is_held and create ~= 'lost'
horizon, closed, time = epoch and horizon or 0, closed or '0', time or 0
epoch = new_epoch
redis.call('UNLINK', META, IDS, AGES)
redis.call('HSET', META, 'epoch', epoch, 'first', text(first), 'last', text(last), 'mark', mark,
  'horizon', text(horizon), 'closed', closed, 'time', text(time), 'top', top)
if not is_new then
  redis.call('PUBLISH', channel, wake_up)
end
return bounds('new')
