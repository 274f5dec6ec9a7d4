"""Shared breakers in Redis: a hash and a set of probes for each, one script for each question, the server's clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from botguard.adapters.redis.server import RedisServer, Script
from botguard.ports.breakers import BreakerView, ProbeResult
from botguard.ports.colour import Colour, MaybeAwaitable

__all__ = ["RedisBreakers"]

# Fields of a row: e era, s state, u end of being open, k probes that succeeded. The probes that are out are a sorted set
# by when they count as lost. A row stays for good: there are as many as the host has declared breakers.
_COMMON = """
local now
if ARGV[1] == '' then
  local t = redis.call('TIME')
  now = tonumber(t[1]) + tonumber(t[2]) / 1000000
else
  now = tonumber(ARGV[1])
end
local row = redis.call('HMGET', KEYS[1], 'e', 's', 'u', 'k')
local era, state = tonumber(row[1] or '0'), row[2] or 'closed'
local ends, succeeded = tonumber(row[3] or '0'), tonumber(row[4] or '0')
local function show(granted, wait)
  if not wait then wait = state == 'open' and math.max(0, ends - now) or 0 end
  return {state, string.format('%.0f', era), string.format('%.6f', wait), granted and 1 or 0}
end
-- Above every era before it, also where the server has lost what it remembered: time does not go back.
local function begin(new, given, seconds)
  era = math.max(era + 1, given + 1, math.floor(now * 1000000))
  state, ends, succeeded = new, now + seconds, 0
  redis.call('HSET', KEYS[1], 'e', string.format('%.0f', era), 's', state, 'u', string.format('%.6f', ends), 'k', '0')
  redis.call('DEL', KEYS[2])
end
"""
_LOOK = Script(_COMMON + "return show()")
_OPEN = Script(
    _COMMON
    + """
local given = tonumber(ARGV[2])
if state == 'closed' and given >= era then begin('open', given, tonumber(ARGV[3])) end
return show()
"""
)
_ADMIT = Script(
    _COMMON
    + """
local given, probe, probes, lasts = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
if given > era or (state == 'open' and ends <= now) then begin('half-open', given, 0) end
if state ~= 'half-open' then return show() end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.6f', now))
if redis.call('ZSCORE', KEYS[2], probe) then return show(true) end
if redis.call('ZCARD', KEYS[2]) + succeeded >= probes then
  local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
  return show(false, math.max(0.05, math.min(1, tonumber(first[2] or now) - now)))
end
redis.call('ZADD', KEYS[2], string.format('%.6f', now + lasts), probe)
return show(true)
"""
)
_SETTLE = Script(
    _COMMON
    + """
local given, probe, result = tonumber(ARGV[2]), ARGV[3], ARGV[4]
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.6f', now))
local known = redis.call('ZREM', KEYS[2], probe) == 1
if given == era and state == 'half-open' then
  if result == 'failed' then
    begin('open', given, tonumber(ARGV[6]))
  elseif result == 'ok' and known then
    if succeeded + 1 >= tonumber(ARGV[5]) then begin('closed', given, 0)
    else redis.call('HSET', KEYS[1], 'k', succeeded + 1) end
  end
end
return show()
"""
)


class RedisBreakers:
    """See :class:`botguard.ports.breakers.BreakerStore`.

    A server that has lost its rows does no harm: the processes that know an open breaker tell it again.

    Args:
        server: where the rows are.
        colour: ``sync``, or ``async`` for ``async def`` handlers; :meth:`for_async` gives the other one.
    """

    def __init__(self, server: RedisServer, *, colour: Colour = "sync") -> None:
        self.server, self.colour = server, colour

    def for_async(self) -> RedisBreakers:
        """The same breakers, awaited."""
        return RedisBreakers(self.server, colour="async")

    def look(self, name: str) -> MaybeAwaitable[BreakerView]:
        """See the port."""
        return self._ask(_LOOK, name)

    def open(self, name: str, era: int, seconds: float) -> MaybeAwaitable[BreakerView]:
        """See the port."""
        return self._ask(_OPEN, name, era, repr(float(seconds)))

    def admit(self, name: str, era: int, probe: str, probes: int, probe_timeout: float) -> MaybeAwaitable[BreakerView]:
        """See the port."""
        return self._ask(_ADMIT, name, era, probe, probes, repr(float(probe_timeout)))

    def settle(
        self, name: str, era: int, probe: str, result: ProbeResult, probes: int, reset_after: float
    ) -> MaybeAwaitable[BreakerView]:
        """See the port."""
        return self._ask(_SETTLE, name, era, probe, result, probes, repr(float(reset_after)))

    def _ask(self, script: Script, name: str, *args: Any) -> MaybeAwaitable[BreakerView]:
        keys = [f"breaker:{name}", f"probes:{name}"]
        return self.server.run(self.colour, script, keys, [self.server.now(), *args], _view)


def _view(found: Sequence[Any]) -> BreakerView:
    state, era, wait, granted = found
    return BreakerView(state.decode(), int(era), float(wait), bool(granted))
