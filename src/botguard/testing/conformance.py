"""From a store, or something that makes one, to the suites that fit it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

from botguard.errors import ConfigurationError
from botguard.ports.storage import COMPLETION_WITH_EVENT
from botguard.testing.storages import storage_at
from botguard.testing.suites import (
    ApprovalStoreSuite,
    EventStoreSuite,
    IdempotencyStoreSuite,
    LimitStoreSuite,
    StoreSuite,
)
from botguard.testing.targets import PORTS, close, fitting, load, make, store_of, takes_clock

__all__ = ["suites_for", "suites_of_url"]

_SUITES: dict[str, type[StoreSuite]] = {
    suite.botguard_port: suite
    for suite in (IdempotencyStoreSuite, EventStoreSuite, ApprovalStoreSuite, LimitStoreSuite)
}
#: Ports whose answers change with time.
_TIMED = {"idempotency", "approvals", "limits"}


def suites_for(
    target: str | Callable[..., Any], *, beside: Path | None = None, **attributes: Any
) -> dict[str, type[StoreSuite]]:
    """Suites for every port that a store or a storage has, by class name, to be put into a test module::

        globals().update(suites_for(make_storage))

    A storage that has another form for event loops (``for_async()``) gets suites for that as well.

    Args:
        target: a function that returns a store or a Storage without rows, and takes the clock that judges its time; or a
            class with ``make_store`` and the other hooks of :class:`~botguard.testing.suites.base.StoreSuite`, where
            ``make_store`` may return a Storage too; or the name of either, as ``module:name``.
        beside: a folder to import it from, if it is not importable otherwise; the present one by default.
        attributes: set on each suite, such as ``drift``, ``threads`` or ``capabilities``.

    Raises:
        ConfigurationError: it cannot be loaded, fits no port, or its time cannot be let pass.
    """
    found = load(target, beside=beside) if isinstance(target, str) else target
    named = target if isinstance(target, str) else getattr(target, "__qualname__", repr(target))
    return _suites(_host(found), found, named, attributes)


def suites_of_url(url: str) -> dict[str, type[StoreSuite]]:
    """The same for a storage that ``--botguard-storage`` names."""

    class AtUrl:
        def make_store(self) -> Any:
            self._open = ExitStack()
            return self._open.enter_context(storage_at(url, self.clock))  # type: ignore[attr-defined]

        def close_store(self, _: Any) -> None:
            self._open.close()

    return _suites(AtUrl, AtUrl, url, {})


def _host(found: Callable[..., Any]) -> type[Any]:
    """A class that makes what the factory makes; a class with hooks of its own is one already."""
    if isinstance(found, type) and hasattr(found, "make_store"):
        return found

    class OfFactory:
        def make_store(self) -> Any:
            return make(found, self.clock)  # type: ignore[attr-defined]

        def close_store(self, made: Any) -> Any:
            close(made)

    return OfFactory


def _suites(host: type[Any], found: Any, named: str, attributes: dict[str, Any]) -> dict[str, type[StoreSuite]]:
    made, ports, forms = _look(host, named)
    if host is not found and not takes_clock(found) and _TIMED & set(ports):
        raise ConfigurationError(
            "BG292",
            f"{named} takes no clock, so that nobody could let the time of its leases pass",
            where="conformance",
            fix="give it a parameter for the clock, or name a class with make_store(self) and age(self, seconds)",
        )
    atomic = COMPLETION_WITH_EVENT in getattr(made, "atomic", ())
    both = {"events"} if atomic and {"idempotency", "events"} <= set(ports) else set()
    suites: dict[str, type[StoreSuite]] = {}
    for form in forms:
        for port in ports:
            name = f"Test{port.title()}{form.title()}"
            claimed = frozenset({*getattr(host, "capabilities", ()), *both})
            own = {"botguard_port": port, "_form": form, "capabilities": claimed, "__module__": __name__, **attributes}
            suites[name] = type(name, (_Picked, host, _SUITES[port]), own)
    return suites


def _look(host: type[Any], named: str) -> tuple[Any, tuple[str, ...], tuple[str, ...]]:
    """Make one and see which ports it has, and whether it has another form for event loops."""
    probe: Any = type("Probe", (host, StoreSuite), {})()
    made = probe.store
    try:
        ports, other = fitting(made), _for_async(made)
    finally:
        probe.teardown_method()
    if not ports:
        raise ConfigurationError(
            "BG292",
            f"what {named} returns, {type(made).__name__}, has the methods of no port",
            where="conformance",
            fix=f"return one of the stores of botguard.ports ({', '.join(PORTS)}), or a Storage that holds some",
        )
    return made, ports, ("", "async") if other is not None and other is not made else ("",)


def _for_async(made: Any) -> Any:
    other = getattr(made, "for_async", None)
    return other() if callable(other) else None


class _Picked:
    """Shows a suite the one store it is about, and the host what it has made."""

    botguard_port = ""
    _form = ""

    @cached_property
    def _made(self) -> list[tuple[Any, Any]]:
        """What the host made, beside the store that was picked from it. (Test classes have no constructors.)"""
        return []

    def _pick(self, made: Any) -> Any:
        form = _for_async(made) if self._form else made
        store = store_of(form, self.botguard_port)
        self._made.append((store, made))
        return store

    def _behind(self, store: Any) -> Any:
        return next(made for picked, made in self._made if picked is store)

    def make_store(self) -> Any:
        """Make one, and pick."""
        return self._pick(super().make_store())  # type: ignore[misc]

    def reopen(self, store: Any) -> Any:
        """Another handle on what the host made."""
        return self._pick(super().reopen(self._behind(store)))  # type: ignore[misc]

    def outage(self, store: Any) -> Any:
        """The host's, of what it made."""
        return super().outage(self._behind(store))  # type: ignore[misc]

    def close_store(self, store: Any) -> Any:
        """Close what the host made."""
        made = self._behind(store)
        self._made[:] = [pair for pair in self._made if pair[0] is not store]
        return super().close_store(made)  # type: ignore[misc]

    def events_of(self, store: Any) -> Any:
        """The trail beside the claims."""
        made = self._behind(store)
        return store_of(_for_async(made) if self._form else made, "events")
