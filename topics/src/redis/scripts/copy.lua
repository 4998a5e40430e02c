-- KEYS: those of a topic, its ingest stream, its stream of rejected entries. ARGV: time for which
-- ids count, channel, wake-up, how many rejected entries are kept, then for each entry its id in the
-- stream, the mark of its record or nothing if it is rejected, its id for deduplication behind `=` or
-- nothing, the content or the reason. `append` is the script of that name.
-- The answer: `ok`, how many were appended, how many were duplicates, how many were rejected. Or
-- `absent`.
local INGEST, REJECTED = KEYS[5], KEYS[6]
local window, channel, wake_up, kept = unpack(ARGV, 1, 4)
if not is_intact() then
  return {'absent'}
end
local rejected = 0

local function reject(id, reason)
  local entry = redis.call('XRANGE', INGEST, id, id)[1]
  if entry then
    local parked, left = {'MAXLEN', '~', kept, '*', 'reason', reason, 'id', id}, 2 ^ 24
    for i = 1, math.min(#entry[2], 2000) do
      local part = string.sub(entry[2][i], 1, left)
      left = left - #part
      parked[#parked + 1] = part
    end
    redis.call('XADD', REJECTED, unpack(parked))
    redis.call('XDEL', INGEST, id)
    rejected = rejected + 1
  end
end

-- What is not in the stream any more was copied, by this copier or another one.
local records = {'', window, channel, wake_up}
for i = 5, #ARGV, 4 do
  local id, mark, dedup, content = unpack(ARGV, i, i + 3)
  if mark == '' then
    reject(id, content)
  elseif closed == '1' then
    reject(id, 'the topic is closed')
  elseif redis.call('XDEL', INGEST, id) == 1 then
    local n = #records
    records[n + 1], records[n + 2], records[n + 3] = mark, dedup, content
  end
end
local count, duplicates = (#records - 4) / 3, 0
if count > 0 then
  local appended = append(records)
  for i = 5, #appended do
    if appended[i] ~= '' then
      duplicates = duplicates + 1
    end
  end
end
return {'ok', text(count - duplicates), text(duplicates), text(rejected)}
