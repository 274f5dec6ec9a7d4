"""The Redis stores against the suites of their ports, sync and async, on a real server."""

from __future__ import annotations

import threading
from typing import Any

from adapters.redis.servers import shared, wipe
from botguard.adapters.redis import RedisClaims, RedisLimits, RedisServer
from botguard.testing import IdempotencyStoreSuite, LimitStoreSuite


class OnRedis:
    """Rows below a prefix of their own; the clock is the suite's, so that boundaries can be met exactly."""

    examples = 60
    capabilities = frozenset({"reopen"})
    kind: Any
    colour: Any = "sync"

    def make_store(self) -> Any:
        return self.kind(shared(clock=self.clock), colour=self.colour)  # type: ignore[attr-defined]

    def reopen(self, store: Any) -> Any:
        server = RedisServer(store.server._url, prefix=store.server.prefix[1:-2], clock=self.clock)  # type: ignore[attr-defined]
        other = self.kind(server, colour=self.colour)
        other.second = True
        return other

    async def close_store(self, store: Any) -> None:
        if not hasattr(store, "second"):
            wiping = threading.Thread(target=wipe, args=(store.server,))
            wiping.start()
            wiping.join()
        store.server.close()
        await store.server.close_async()


class TestRedisClaims(OnRedis, IdempotencyStoreSuite):
    kind = RedisClaims


class TestRedisLimits(OnRedis, LimitStoreSuite):
    kind = RedisLimits


class TestAsyncRedisClaims(OnRedis, IdempotencyStoreSuite):
    kind, colour = RedisClaims, "async"


class TestAsyncRedisLimits(OnRedis, LimitStoreSuite):
    kind, colour = RedisLimits, "async"
