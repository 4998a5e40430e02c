-- ARGV: epoch, offset, mark or nothing, count, bytes.
-- The answer: `page`, `epoch`, `ahead` or `diverged`, and the bounds. With `page` then whether more
-- is held behind it, and all records in one text, which a client reads faster than many: for each
-- its id, the lengths of its time and its content, and these. Or `absent`.
local offset, count, bytes = tonumber(ARGV[2]), tonumber(ARGV[4]), tonumber(ARGV[5])
if not epoch then
  return {'absent'}
end
local is_place = ARGV[1] == epoch and offset <= last
local from = text(math.max(offset, first))
local records, total, more, newest, held = {}, 0, true, nil, nil
local ask = math.min(count, 8) + 1
while is_place and more and #records < count and total <= bytes do
  local entries = redis.call('XRANGE', LOG, from, '+', 'COUNT', ask)
  more = #entries == ask
  for _, entry in ipairs(entries) do
    newest = entry
    if not held and offset_of(entry[1]) == offset then
      held = string.match(entry[1], '%d+$')
    elseif #records == count or total > bytes then
      more = true
      break
    else
      local content = entry[2][4] or ''
      records[#records + 1] = entry
      -- The least that the content can be: what is stored has up to 22 bytes beside it, and more
      -- with metadata.
      total = total + math.max(0, #content - 22)
    end
  end
  if newest then
    from = '(' .. newest[1]
  end
  local size = total / math.max(1, #records)
  ask = math.floor(math.max(1, math.min(count - #records + 1, (bytes - total) / (size + 1) + 1)))
end
if not is_intact(not more and newest or nil) then
  return {'absent'}
end
if ARGV[1] ~= epoch then
  return bounds('epoch')
end
if offset > last then
  return bounds('ahead')
end
if offset == last then
  held = mark
end
if ARGV[3] ~= '' and held and held ~= ARGV[3] then
  return bounds('diverged')
end
local answer = bounds('page')
answer[8] = more and '1' or '0'
local texts = {}
for i, entry in ipairs(records) do
  local time, content = entry[2][2] or '', entry[2][4] or ''
  texts[i] = entry[1] .. ' ' .. #time .. ' ' .. #content .. '\n' .. time .. content
end
answer[9] = table.concat(texts)
return answer
