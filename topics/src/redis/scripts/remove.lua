-- ARGV: epoch, the horizon, the offsets that are to go.
-- The answer: `ok`, or `absent`.
if not is_intact() then
  return {'absent'}
end
if ARGV[1] == epoch then
  redis.call('HSET', META, 'horizon', text(math.max(horizon, tonumber(ARGV[2]))))
  for i = 3, #ARGV do
    for _, entry in ipairs(redis.call('XRANGE', LOG, ARGV[i], ARGV[i])) do
      redis.call('XDEL', LOG, entry[1])
    end
  end
end
return {'ok'}
