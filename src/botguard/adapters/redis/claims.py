"""Claims in Redis: a hash for each key, and one script for each question. The rules are those of the port."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from botguard.adapters.redis.server import RedisServer, Script
from botguard.ports.colour import Colour, MaybeAwaitable
from botguard.ports.events import Event
from botguard.ports.idempotency import Ack, ClaimAnswer, ClaimRequest, Row, RowState

__all__ = ["RedisClaims"]

# Fields of a row: s state, c claim id, f fence, u end of the lease or of the lifetime ("" for never), p person,
# h fingerprint, v version, r result, e event id, a attempts, o org, n command.
_NOW = """
local now
if ARGV[1] == '' then
  local t = redis.call('TIME')
  now = tonumber(t[1]) + tonumber(t[2]) / 1000000
else
  now = tonumber(ARGV[1])
end
"""
_SHOW = """
local function show(key)
  local row = redis.call('HMGET', key, 's', 'c', 'f', 'u', 'p', 'h', 'v', 'r', 'e', 'a')
  if not row[1] then return nil end
  if row[4] ~= '' then row[4] = string.format('%.6f', tonumber(row[4]) - now) end
  return row
end
"""

_PEEK = Script(
    _NOW
    + _SHOW
    + """
local row = show(KEYS[1])
if not row then return nil end
if (row[1] == 'done' or row[1] == 'failed') and tonumber(row[4]) <= 0 then return nil end
return row
"""
)

# KEYS: row, the last fence, the calendar of settled rows.
_CLAIM = Script(
    _NOW
    + _SHOW
    + """
local claim_id, person, print, version = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local lease, takeover, supersede = tonumber(ARGV[6]), ARGV[7] == '1', ARGV[8]
local ends = string.format('%.6f', now + lease)
local row = redis.call('HMGET', KEYS[1], 's', 'c', 'f', 'u', 'h', 'v')
local state = row[1]
if state then
  local over = row[4] ~= '' and tonumber(row[4]) <= now
  local won
  if state == 'claimed' and row[2] == claim_id then
    redis.call('HSET', KEYS[1], 'u', ends)
    return {1, row[3]}
  elseif state == 'done' or state == 'failed' then
    won = over
  elseif state == 'unknown' then
    won = supersede ~= '' and row[2] == supersede
  else
    local same = row[5] == print or row[6] ~= version
    won = over and takeover and same
    if over and not takeover and same then
      redis.call('HSET', KEYS[1], 's', 'unknown', 'u', '')
    end
  end
  if not won then return {0, '0', show(KEYS[1])} end
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[3], KEYS[1])
end
-- Above all before it, also where the server has lost what it remembered: time does not go back.
local last = tonumber(redis.call('GET', KEYS[2]) or '0')
local fence = string.format('%.0f', math.max(last + 1, math.floor(now * 1000000)))
redis.call('SET', KEYS[2], fence)
redis.call('HSET', KEYS[1], 's', 'claimed', 'c', claim_id, 'f', fence, 'u', ends, 'p', person, 'h', print,
  'v', version, 'e', '', 'a', '0', 'o', ARGV[9], 'n', ARGV[10])
return {1, fence}
"""
)

_FINISH = Script(
    _NOW
    + """
local claim_id, state, keep = ARGV[2], ARGV[3], tonumber(ARGV[4])
local row = redis.call('HMGET', KEYS[1], 's', 'c')
if not row[1] or row[2] ~= claim_id then return 'lost' end
if row[1] ~= 'claimed' and (row[1] ~= 'unknown' or state == 'unknown') then return 'already' end
redis.call('HSET', KEYS[1], 's', state, 'a', ARGV[5], 'e', ARGV[6])
if ARGV[7] == '1' then redis.call('HSET', KEYS[1], 'r', ARGV[8]) else redis.call('HDEL', KEYS[1], 'r') end
if state == 'unknown' then
  redis.call('HSET', KEYS[1], 'u', '')
else
  local ends = string.format('%.6f', now + keep)
  redis.call('HSET', KEYS[1], 'u', ends)
  redis.call('PEXPIRE', KEYS[1], math.ceil(math.min(keep, 3e8) * 1000) + 1000)
  redis.call('ZADD', KEYS[2], ends, KEYS[1])
  -- Rows that went by themselves leave their line in the calendar; each completion strikes out two of the oldest.
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - 3600, 'LIMIT', 0, 2)) do
    if redis.call('EXISTS', old) == 0 then redis.call('ZREM', KEYS[2], old) end
  end
end
return 'applied'
"""
)

_RELEASE = Script(
    """
local row = redis.call('HMGET', KEYS[1], 's', 'c')
if not row[1] then return 'already' end
if row[1] ~= 'claimed' or row[2] ~= ARGV[1] then return 'lost' end
redis.call('DEL', KEYS[1])
return 'applied'
"""
)

_EXTEND = Script(
    _NOW
    + """
local row = redis.call('HMGET', KEYS[1], 's', 'c')
if row[1] ~= 'claimed' or row[2] ~= ARGV[2] then return 'lost' end
redis.call('HSET', KEYS[1], 'u', string.format('%.6f', now + tonumber(ARGV[3])))
return 'applied'
"""
)

_PURGE = Script(
    _NOW
    + """
local over = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, tonumber(ARGV[2]))
for _, key in ipairs(over) do
  redis.call('DEL', key)
  redis.call('ZREM', KEYS[1], key)
end
return #over
"""
)


class RedisClaims:
    """See :class:`botguard.ports.idempotency.IdempotencyStore`.

    Settled rows go by themselves at the end of their lifetime; claimed and unknown ones never do. What a claim is
    worth is what the server keeps: give it ``appendonly yes`` and ``maxmemory-policy noeviction`` (see :meth:`check`).

    Args:
        server: where the rows are.
        colour: ``sync``, or ``async`` for ``async def`` handlers; :meth:`for_async` gives the other one.
    """

    def __init__(self, server: RedisServer, *, colour: Colour = "sync") -> None:
        self.server, self.colour = server, colour

    def for_async(self) -> RedisClaims:
        """The same rows, awaited."""
        return RedisClaims(self.server, colour="async")

    def peek(self, key: str) -> MaybeAwaitable[Row | None]:
        """See the port."""
        return self.server.run(self.colour, _PEEK, [f"claim:{key}"], [self.server.now()], _row)

    def claim(self, request: ClaimRequest, event: Event | None = None) -> MaybeAwaitable[ClaimAnswer]:
        """See the port. Events are kept in another store: of ``event`` nothing is stored here."""
        args = [
            self.server.now(), request.claim_id, _text(request.person), request.fingerprint, request.version,
            repr(float(request.lease)), int(request.takeover), request.supersede or "", _text(request.org), request.command,
        ]  # fmt: skip
        keys = [f"claim:{request.key}", "fence", "settled"]
        return self.server.run(self.colour, _CLAIM, keys, args, _answer)

    def finish(
        self,
        key: str,
        claim_id: str,
        state: RowState,
        result: bytes | None,
        keep: float,
        attempts: int,
        event: Event | None = None,
    ) -> MaybeAwaitable[Ack]:
        """See the port. Of ``event`` only the id is stored here."""
        args = [
            self.server.now(), claim_id, str(state), repr(float(keep)), attempts, event.id if event is not None else "",
            int(result is not None), b"" if result is None else result,
        ]  # fmt: skip
        return self.server.run(self.colour, _FINISH, [f"claim:{key}", "settled"], args, _ack)

    def release(self, key: str, claim_id: str) -> MaybeAwaitable[Ack]:
        """See the port."""
        return self.server.run(self.colour, _RELEASE, [f"claim:{key}"], [claim_id], _ack)

    def extend(self, key: str, claim_id: str, lease: float) -> MaybeAwaitable[Ack]:
        """See the port."""
        args = [self.server.now(), claim_id, repr(float(lease))]
        return self.server.run(self.colour, _EXTEND, [f"claim:{key}"], args, _ack)

    def purge(self, limit: int = 1000) -> MaybeAwaitable[int]:
        """See the port. Redis drops settled rows by itself as well, a second after their lifetime."""
        return self.server.run(self.colour, _PURGE, ["settled"], [self.server.now(), limit], int)


def _row(found: Sequence[Any] | None) -> Row | None:
    if found is None:
        return None
    state, claim_id, fence, left, person, fingerprint, version, result, event, attempts = found
    return Row(
        RowState(state.decode()), claim_id.decode(), int(fence), float(left) if left else float("inf"), _untext(person),
        fingerprint, version.decode(), result, event.decode(), int(attempts),
    )  # fmt: skip


def _answer(found: Sequence[Any]) -> ClaimAnswer:
    won, fence = bool(found[0]), int(found[1])
    return ClaimAnswer(won, fence, None if won else _row(found[2]))


def _ack(found: bytes) -> Ack:
    return Ack(found.decode())


def _text(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _untext(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")
