"""Many processes at the same moment, on one handle and on two."""

from __future__ import annotations

from typing import Any

from botguard.testing.suites.actors import settled
from botguard.testing.suites.breakers.words import RESET, TIMEOUT, BreakerWords
from botguard.testing.suites.checks import equal, must

__all__ = ["Racing"]


class Racing(BreakerWords):
    """Asking while others ask."""

    def _together(self, work: Any) -> list[Any]:
        def actor(n: int) -> Any:
            async def run() -> Any:
                return await work(n)

            return run

        return self.together(self.store, [actor(n) for n in range(self.threads)])

    def test_break_01_many_at_once_get_exactly_the_probes(self) -> None:
        """BREAK-01: of many who ask at the moment when its time is over, as many as declared get a probe."""
        store = self.store
        for turn in range(6):
            name, probes = f"many-{turn}", 1 + turn % 3
            era = self.opened(name=name)
            self.elapse(RESET + self.hair)

            async def caller(n: int, name: str = name, era: int = era, probes: int = probes) -> Any:
                return await settled(store.admit(name, era, f"{name}-{n}", probes, TIMEOUT))

            views = self._together(caller)
            granted = [view for view in views if view.granted]
            equal(len(granted), probes, "BREAK-01", f"probes granted to {self.threads} at once")
            equal(len({view.era for view in views}), 1, "BREAK-03", "eras that half-open began")

    def test_break_02_many_who_open_at_once_open_it_once(self) -> None:
        """BREAK-02: many who open it at once begin one era."""
        store = self.store
        for turn in range(6):

            async def caller(_: int, name: str = f"once-{turn}") -> Any:
                return await settled(store.open(name, 0, RESET))

            views = self._together(caller)
            equal({view.state for view in views}, {"open"}, "BREAK-02", "what each of them is told")
            equal(len({view.era for view in views}), 1, "BREAK-03", "eras that it was opened in")

    def test_another_handle_sees_and_probes_the_same_breaker(self) -> None:
        """BREAK-02: another handle sees what is open, shares the probes, and closes it for all."""
        self.needs("reopen")
        era = self.opened()
        other = self.wait(self.reopen(self.store))
        try:
            equal(self.ask(other.look, "erp").state, "open", "BREAK-02", "what another handle sees")
            self.elapse(RESET + self.hair)
            view = self.ask(other.admit, "erp", era, "theirs", 1, TIMEOUT)
            must(view.granted, "BREAK-01", "another handle may probe")
            must(not self.admit(era).granted, "BREAK-01", "the probe is out, whoever has it")
            self.ask(other.settle, "erp", view.era, "theirs", "ok", 1, RESET)
            equal(self.look().state, "closed", "BREAK-04", "closed by another handle")
        finally:
            self.wait(self.close_store(other))
