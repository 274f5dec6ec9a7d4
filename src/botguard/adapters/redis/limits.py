"""Limits in Redis: all limits of a call in one script, counted together or not at all, by the server's clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from botguard.adapters.redis.server import RedisServer, Script
from botguard.ports.colour import Colour, MaybeAwaitable
from botguard.ports.limits import Limit, Reservation

__all__ = ["RedisLimits"]

# For each key four arguments: strategy, amount, window in seconds, and the name of what is taken (a token).
# Counters (fixed-window, sliding-window-counter) are a hash: i index of the window, n calls in it, b calls in the one
# before. Logs (moving-window) and slots (concurrent) are sorted sets of tokens, by the time of the call and by the end
# of the lease. The waits are those of the local limiter, so that a fallback to it decides alike.
_COMMON = """
local now
if ARGV[1] == '' then
  local t = redis.call('TIME')
  now = tonumber(t[1]) + tonumber(t[2]) / 1000000
else
  now = tonumber(ARGV[1])
end
local function counted(key, window)
  local row = redis.call('HMGET', key, 'i', 'n', 'b')
  local index = math.floor(now / window)
  local was = tonumber(row[1] or '-9')
  local n, b = tonumber(row[2] or '0'), tonumber(row[3] or '0')
  if was >= index then return was, n, b end
  if was == index - 1 then return index, 0, n end
  return index, 0, 0
end
local function wait_of(key, strategy, amount, window)
  if strategy == 'concurrent' then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.6f', now))
    if redis.call('ZCARD', key) < amount then return 0 end
    local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    return math.min(1, tonumber(first[2]) - now)
  elseif strategy == 'moving-window' then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.6f', now - window))
    local held = redis.call('ZCARD', key)
    if held < amount then return 0 end
    local last = redis.call('ZRANGE', key, held - amount, held - amount, 'WITHSCORES')
    return tonumber(last[2]) + window - now
  end
  local index, n, b = counted(key, window)
  local gone = now - index * window
  if b == 0 and n < amount then return 0 end
  if strategy == 'fixed-window' then
    if n < amount then return 0 end
    return window - gone
  end
  if math.floor(b * (window - gone) / window) + n < amount then return 0 end
  local room = amount - n
  if room > 0 then return math.max(window - gone - room * window / b, 0) + 0.001 end
  return window - gone + math.max(window - amount * window / n, 0) + 0.001
end
local worst, which = 0, 0
for i, key in ipairs(KEYS) do
  local at = 3 + (i - 1) * 3
  local wait = wait_of(key, ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]))
  if wait > worst then worst, which = wait, i end
end
if which > 0 then return {which, string.format('%.6f', worst)} end
"""
_TEST = Script(_COMMON + "return {0, string.format('%.6f', now)}")
_RESERVE = Script(
    _COMMON
    + """
for i, key in ipairs(KEYS) do
  local at = 3 + (i - 1) * 3
  local strategy, window = ARGV[at], tonumber(ARGV[at + 2])
  if strategy == 'concurrent' then
    redis.call('ZADD', key, string.format('%.6f', now + window), ARGV[2])
  elseif strategy == 'moving-window' then
    redis.call('ZADD', key, string.format('%.6f', now), ARGV[2])
  else
    local index, n, b = counted(key, window)
    redis.call('HSET', key, 'i', index, 'n', n + 1, 'b', b)
    window = 2 * window
  end
  redis.call('PEXPIRE', key, math.ceil(math.min(window, 3e8) * 1000) + 1000)
end
return {0, string.format('%.6f', now)}
"""
)
# ARGV: when it was taken, its token, whether counts are given back too, then strategy and window for each key.
_RETURN = Script(
    """
for i, key in ipairs(KEYS) do
  local strategy, window = ARGV[4 + (i - 1) * 2], tonumber(ARGV[5 + (i - 1) * 2])
  if strategy == 'concurrent' or (strategy == 'moving-window' and ARGV[3] == '1') then
    redis.call('ZREM', key, ARGV[2])
  elseif ARGV[3] == '1' and strategy ~= 'moving-window' then
    local row = redis.call('HMGET', key, 'i', 'n', 'b')
    local index = math.floor(tonumber(ARGV[1]) / window)
    if row[1] then
      if index == tonumber(row[1]) then
        if tonumber(row[2]) > 0 then redis.call('HINCRBY', key, 'n', -1) end
      elseif index == tonumber(row[1]) - 1 and tonumber(row[3]) > 0 then
        redis.call('HINCRBY', key, 'b', -1)
      end
    end
  end
end
return 0
"""
)


class RedisLimits:
    """See :class:`botguard.ports.limits.LimitStore`. Counters go by themselves when their windows are over.

    Args:
        server: where the counters are.
        colour: as for :class:`RedisClaims`.
    """

    def __init__(self, server: RedisServer, *, colour: Colour = "sync") -> None:
        self.server, self.colour = server, colour

    def for_async(self) -> RedisLimits:
        """The same counters, awaited."""
        return RedisLimits(self.server, colour="async")

    def reserve(self, limits: tuple[Limit, ...], buckets: tuple[str, ...], token: str) -> MaybeAwaitable[Reservation]:
        """See the port."""
        token = token or _unique()
        return self._ask(_RESERVE, limits, buckets, token)

    def test(self, limits: tuple[Limit, ...], buckets: tuple[str, ...]) -> MaybeAwaitable[Reservation]:
        """See the port."""
        return self._ask(_TEST, limits, buckets, "")

    def _ask(
        self, script: Script, limits: tuple[Limit, ...], buckets: tuple[str, ...], token: str
    ) -> MaybeAwaitable[Reservation]:
        args: list[Any] = [self.server.now(), token]
        for limit in limits:
            args += (limit.strategy, limit.amount, repr(float(limit.window)))

        def read(found: Sequence[Any]) -> Reservation:
            if found[0]:
                return Reservation(False, limits[found[0] - 1], float(found[1]))
            return Reservation(True, token=(found[1], token))

        return self.server.run(self.colour, script, _keys(limits, buckets), args, read)

    def refund(
        self, limits: tuple[Limit, ...], buckets: tuple[str, ...], reservation: Reservation
    ) -> MaybeAwaitable[None]:
        """See the port."""
        return self._return(limits, buckets, reservation, counts=True)

    def release(
        self, limits: tuple[Limit, ...], buckets: tuple[str, ...], reservation: Reservation
    ) -> MaybeAwaitable[None]:
        """See the port."""
        return self._return(limits, buckets, reservation, counts=False)

    def _return(
        self, limits: tuple[Limit, ...], buckets: tuple[str, ...], reservation: Reservation, *, counts: bool
    ) -> MaybeAwaitable[None]:
        held: Any = reservation.token
        taken, token = held
        args: list[Any] = [taken, token, int(counts)]
        for limit in limits:
            args += (limit.strategy, repr(float(limit.window)))
        return self.server.run(self.colour, _RETURN, _keys(limits, buckets), args, lambda _: None)


def _keys(limits: tuple[Limit, ...], buckets: tuple[str, ...]) -> list[str]:
    """Names of bounded length that cannot run into each other, whatever stands in a tag or a bucket."""
    from hashlib import blake2b

    def name(limit: Limit, bucket: str) -> str:
        spelt = f"{len(limit.tag)}:{limit.tag}{bucket}".encode("utf-8", "surrogatepass")
        return f"limit:{blake2b(spelt, digest_size=20).hexdigest()}"

    return [name(limit, bucket) for limit, bucket in zip(limits, buckets, strict=True)]


def _unique() -> str:
    from uuid import uuid4

    return uuid4().hex
