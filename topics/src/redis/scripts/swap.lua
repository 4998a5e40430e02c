-- KEYS: names, ends, the registers: one hash tag. ARGV: for each register its name, the expected
-- version or nothing, the new one or nothing to remove it, its time in milliseconds or nothing, its
-- value.
-- The answer: for each register `w`, `r`, or `c` and the version that it has.
-- A register is its version (16 digits), `+` if it has an entry in `ends` or `-`, and its value.
local NAMES, ENDS = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answer, is_timed = {}, false
for i = 1, #KEYS - 2 do
  local key = KEYS[i + 2]
  local name, expected, version, ttl, value = unpack(ARGV, 5 * i - 4, 5 * i)
  local head = redis.call('GETRANGE', key, 0, 16)
  local actual, was_timed = string.sub(head, 1, 16), string.sub(head, 17) == '+'
  if actual ~= expected then
    answer[i] = 'c' .. actual
  elseif version == '' then
    answer[i] = 'r'
    if actual ~= '' then
      redis.call('DEL', key)
      redis.call('ZREM', NAMES, name)
      redis.call('ZREM', ENDS, name)
    end
  else
    answer[i] = 'w'
    if ttl ~= '' then
      is_timed = true
      redis.call('SET', key, version .. '+' .. value, 'PX', ttl)
      redis.call('ZADD', ENDS, string.format('%.0f', now + ttl), name)
    else
      redis.call('SET', key, version .. '-' .. value)
      if was_timed or actual == '' then
        redis.call('ZREM', ENDS, name)
      end
    end
    if actual == '' then
      redis.call('ZADD', NAMES, 0, name)
    end
  end
end
-- Those whose time is over are gone, only their names are left.
if is_timed then
  local limit = 100 + #KEYS
  local over = redis.call('ZRANGE', ENDS, '-inf', string.format('(%.0f', now), 'BYSCORE', 'LIMIT', 0, limit)
  for _, name in ipairs(over) do
    redis.call('ZREM', NAMES, name)
    redis.call('ZREM', ENDS, name)
  end
end
return answer
