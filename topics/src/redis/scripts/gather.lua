-- KEYS: an ingest stream. ARGV: how many entries and bytes are wanted, how many bytes and texts one
-- entry may have.
-- The answer: for each of the oldest entries its id, how many texts it has, and these, which are
-- names and values in turn. For one that is too large its id, nothing, and how many bytes it has.
local count, bytes, most_bytes, most_texts =
  tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local answer, found, total, from, ask = {}, 0, 0, '-', 1
local max = '18446744073709551615'
while found < count do
  local entries = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', ask)
  for _, entry in ipairs(entries) do
    local texts, size, n = entry[2], 0, #answer
    for _, text in ipairs(texts) do
      size = size + #text
    end
    answer[n + 1] = entry[1]
    if size > most_bytes or #texts > most_texts then
      answer[n + 2], answer[n + 3] = '', string.format('%.0f', size)
    else
      if found > 0 and total + size > bytes then
        answer[n + 1] = nil
        return answer
      end
      answer[n + 2] = tostring(#texts)
      for i, text in ipairs(texts) do
        answer[n + 2 + i] = text
      end
      total = total + size
    end
    found = found + 1
    from = '(' .. entry[1]
  end
  -- Nothing can follow the highest id, and asking for that is an error.
  if #entries < ask or from == '(' .. max .. '-' .. max then
    break
  end
  -- Not many at once: nobody knows how large they are.
  ask = math.min(ask * 2, 32, count - found)
end
return answer
