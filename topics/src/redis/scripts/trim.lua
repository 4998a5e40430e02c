-- ARGV: epoch, the highest offset that is to go, how many may go at once.
-- The answer: `ok`, the bounds, how many went. Or `absent`.
if not is_intact() then
  return {'absent'}
end
local removed = 0
if ARGV[1] == epoch then
  -- Nobody is shown what is below `first`, so that Redis may keep the rest of a node, and may take
  -- several calls for many records.
  first = math.max(first, math.min(tonumber(ARGV[2]), last) + 1)
  redis.call('HSET', META, 'first', text(first))
  removed = redis.call('XTRIM', LOG, 'MINID', '~', text(first), 'LIMIT', ARGV[3])
end
local answer = bounds('ok')
answer[8] = text(removed)
return answer
