-- KEYS: those of a topic, its ingest stream, its stream of rejected entries.
-- ARGV: `close` or `delete`, channel, wake-up, for how many seconds others can see that the topic
-- was deleted.
-- The answer: `ok`, or `absent`.
local what, channel, wake_up, seconds = unpack(ARGV)
if what == 'delete' then
  redis.call('UNLINK', META, LOG, IDS, AGES, KEYS[5], KEYS[6])
  redis.call('HSET', META, 'gone', '1')
  redis.call('EXPIRE', META, seconds)
  redis.call('PUBLISH', channel, wake_up)
  return {'ok'}
end
if not is_intact() then
  return {'absent'}
end
if closed ~= '1' then
  redis.call('HSET', META, 'closed', '1')
  redis.call('PUBLISH', channel, wake_up)
end
return {'ok'}
