-- ARGV: expected offset or nothing, time for which ids count, channel, wake-up, then for each record
-- its mark, its id for deduplication behind `=` or nothing, its content.
-- The answer: `ok`, epoch, offset of the first that was stored, time, and if any was a duplicate,
-- for each record nothing, or `offset mark time` of the stored one. Or `absent`, `closed`,
-- `conflict` and the last offset.
local expect, window, channel, wake_up = unpack(ARGV, 1, 4)
if not is_intact() then
  return {'absent'}
end
local now = redis.call('TIME')
time = math.max(time, now[1] * 1000 + math.floor(now[2] / 1000))
local since = time - tonumber(window)
local count = (#ARGV - 4) / 3
local old = redis.call('ZRANGE', AGES, '-inf', text(since), 'BYSCORE', 'LIMIT', 0, 100 + count)

-- Calls a command with many arguments, with as many at once as Lua can pass on.
local AT_ONCE = 1000
local function call_with_all(command, key, arguments)
  for from = 1, #arguments, AT_ONCE do
    redis.call(command, key, unpack(arguments, from, math.min(from + AT_ONCE - 1, #arguments)))
  end
end

-- What is stored under the ids.
local asked, found = {}, {}
for i = 1, count do
  if ARGV[3 * i + 3] ~= '' then
    asked[#asked + 1] = ARGV[3 * i + 3]
  end
end
for from = 1, #asked, AT_ONCE do
  local to = math.min(from + AT_ONCE - 1, #asked)
  for i, stored in ipairs(redis.call('HMGET', IDS, unpack(asked, from, to))) do
    found[asked[from + i - 1]] = stored
  end
end

-- Which are duplicates, and where the others will stand.
local stamp = text(time)
local known, ids, offset, has_duplicates = {}, {}, last, false
for i = 1, count do
  local id = ARGV[3 * i + 3]
  known[i] = ''
  if id ~= '' then
    local stored = ids[id]
    if not stored then
      stored = found[id]
      stored = stored and tonumber(string.match(stored, '%d+$')) > since and stored
    end
    if stored then
      known[i] = stored
      has_duplicates = true
    end
  end
  if known[i] == '' then
    offset = offset + 1
    if id ~= '' then
      ids[id] = text(offset) .. ' ' .. ARGV[3 * i + 2] .. ' ' .. stamp
    end
  end
end

if offset > last then
  if closed == '1' then
    return {'closed'}
  end
  if expect ~= '' and tonumber(expect) ~= last then
    return {'conflict', text(last)}
  end
end
call_with_all('HDEL', IDS, old)
call_with_all('ZREM', AGES, old)
local answer = {'ok', epoch, text(last + 1), stamp}
if offset > last then
  offset = last
  for i = 1, count do
    if known[i] == '' then
      offset = offset + 1
      mark = ARGV[3 * i + 2]
      top = text(offset) .. '-' .. mark
      redis.call('XADD', LOG, top, 't', stamp, 'c', ARGV[3 * i + 4])
    end
  end
  local new, ages = {}, {}
  for id, stored in pairs(ids) do
    new[#new + 1], new[#new + 2] = id, stored
    ages[#ages + 1], ages[#ages + 2] = stamp, id
  end
  call_with_all('HSET', IDS, new)
  call_with_all('ZADD', AGES, ages)
  redis.call('HSET', META, 'last', text(offset), 'mark', mark, 'time', stamp, 'top', top)
  redis.call('PUBLISH', channel, wake_up)
end
if has_duplicates then
  for i = 1, count do
    answer[i + 4] = known[i]
  end
end
return answer
