"""One Redis server as the stores see it: scripts run whole, answers or StoreUnavailable, plainly or awaited."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from botguard.errors import ConfigurationError, ExtraMissing, StoreUnavailable
from botguard.ports.colour import Colour, MaybeAwaitable
from botguard.ports.runtime import Clock

__all__ = ["RedisServer", "Script"]

_T = TypeVar("_T")
#: Replies of a server that is up but cannot be written to now, and for which redis-py has no class of its own.
_NOT_NOW = ("BUSY", "NOREPLICAS", "MISCONF")


class Script:
    """Lua source; the server keeps it by its digest, so that a call sends only that."""

    __slots__ = ("digest", "source")

    def __init__(self, source: str) -> None:
        from hashlib import sha1

        self.source = source
        self.digest = sha1(source.encode(), usedforsecurity=False).hexdigest()  # the name that EVALSHA knows it by


class RedisServer:
    """Where the rows are, and how to reach them. Nothing is connected before the first call.

    Every change is one Lua script: atomic, and by the server's own clock. All keys carry one hash tag, so that in a
    cluster they lie on one node.

    Args:
        url: ``redis://[user:password@]host[:port][/db]``, ``rediss://…`` or ``unix://…``.
        prefix: separates hosts that share a server.
        timeout: seconds to connect and to wait for an answer; a server that is slower counts as down.
        clock: ``time()`` instead of the server's own clock; for tests.
        options: passed to ``redis.Redis`` and ``redis.asyncio.Redis``, such as ``max_connections``.

    Raises:
        ExtraMissing: without the package redis.
        ConfigurationError: for a URL or a prefix that is none.
    """

    def __init__(
        self, url: str, *, prefix: str = "botguard", timeout: float = 2.0, clock: Clock | None = None, **options: Any
    ) -> None:
        self._redis = _package()
        if "{" in prefix or "}" in prefix:
            raise ConfigurationError(
                "BG210", f"prefix={prefix!r} holds a brace", why="the keys' hash tag is made of it", fix="leave it out"
            )
        self.prefix = f"{{{prefix}}}:"
        self._url, self._time = url, clock.time if clock is not None else None
        self._options = {"socket_timeout": timeout, "socket_connect_timeout": timeout, **options}
        self._plain: Any = None
        #: A connection belongs to the loop that it was opened in.
        self._by_loop: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        self._lock = threading.Lock()
        try:
            self._redis.connection.parse_url(url)
        except ValueError as error:
            raise ConfigurationError(
                "BG211",
                f"{_hidden(url)!r} is no address of a Redis server",
                why=str(error),
                fix="redis://127.0.0.1:6379/0",
            ) from None

    def now(self) -> str:
        """The time to judge by, for a script: "" for the server's own."""
        return "" if self._time is None else repr(float(self._time()))

    def run(
        self, colour: Colour, script: Script, keys: Sequence[str], args: Sequence[Any], read: Callable[[Any], _T]
    ) -> MaybeAwaitable[_T]:
        """Run a script on keys below the prefix and read its answer; an awaitable where ``colour`` is async.

        Raises:
            StoreUnavailable: if there was no answer; ``maybe_applied`` unless the server surely did nothing.
        """
        named = [self.prefix + key for key in keys]
        if colour == "async":
            return self._run_async(script, named, args, read)
        client = self._client()
        try:
            try:
                answer = client.evalsha(script.digest, len(named), *named, *args)
            except self._redis.exceptions.NoScriptError:  # a restart, or a flush, has forgotten it
                answer = client.eval(script.source, len(named), *named, *args)
        except self._redis.exceptions.RedisError as error:
            raise self._unavailable(error) from error
        return read(answer)

    async def _run_async(self, script: Script, keys: list[str], args: Sequence[Any], read: Callable[[Any], _T]) -> _T:
        import asyncio

        client, task = self._client_of_loop(), asyncio.current_task()
        cancellations = task.cancelling() if task is not None else 0
        try:
            try:
                answer = await client.evalsha(script.digest, len(keys), *keys, *args)
            except self._redis.exceptions.NoScriptError:
                answer = await client.eval(script.source, len(keys), *keys, *args)
        except self._redis.exceptions.RedisError as error:
            raise self._unavailable(error) from error
        if task is not None and task.cancelling() > cancellations:
            # redis-py looks for stale data before it sends, and loses a cancellation that arrives just then.
            raise asyncio.CancelledError
        return read(answer)

    def _client(self) -> Any:
        if self._plain is None:
            with self._lock:
                if self._plain is None:
                    from redis.backoff import NoBackoff
                    from redis.retry import Retry

                    # The client must not send a script again by itself: a call would count twice. The guard knows when
                    # that is safe.
                    self._plain = self._redis.Redis.from_url(self._url, retry=Retry(NoBackoff(), 0), **self._options)
        return self._plain

    def _client_of_loop(self) -> Any:
        import asyncio

        import redis.asyncio

        loop = asyncio.get_running_loop()
        client = self._by_loop.get(loop)
        if client is None:
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff

            client = redis.asyncio.Redis.from_url(self._url, retry=Retry(NoBackoff(), 0), **self._options)
            self._by_loop[loop] = client
        return client

    def _unavailable(self, error: Exception) -> Exception:
        exceptions = self._redis.exceptions
        text = str(error)
        if isinstance(error, exceptions.AuthenticationError | exceptions.NoPermissionError):
            return StoreUnavailable(f"Redis refused us: {text}", fix="check user, password and ACL of the URL")
        if isinstance(error, exceptions.ResponseError):
            # The server has answered, so nothing is in doubt; what is no passing trouble is a bug, its or ours.
            passing = text.startswith(_NOT_NOW) or type(error) is not exceptions.ResponseError
            return StoreUnavailable(f"Redis cannot do it now: {text}") if passing else error
        never_was = isinstance(error.__cause__ or error.__context__, ConnectionRefusedError)
        return StoreUnavailable(f"Redis did not answer: {text or type(error).__name__}", maybe_applied=not never_was)

    def close(self) -> None:
        """Close the plain connections; the next call opens new ones."""
        client, self._plain = self._plain, None
        if client is not None:
            client.close()

    async def close_async(self) -> None:
        """Close the running loop's connections."""
        import asyncio

        client = self._by_loop.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()


def _package() -> Any:
    try:
        import redis
    except ImportError as error:
        raise ExtraMissing(
            "botguard.adapters.redis needs the package redis, which is not installed", "redis", "redis"
        ) from error
    return redis


def _hidden(url: str) -> str:
    """The URL without its password."""
    head, at, tail = url.rpartition("@")
    return f"{head.split('//')[0]}//…@{tail}" if at else url
