"""What the breaker suite's tests are written in: look, open, probe, settle, and a breaker that is half-open."""

from __future__ import annotations

from typing import Any

from botguard.ports.breakers import BreakerView, ProbeResult
from botguard.testing.suites.base import StoreSuite
from botguard.testing.suites.checks import equal, must

__all__ = ["RESET", "TIMEOUT", "BreakerWords"]

#: Seconds for which a breaker is opened here, and after which a probe is lost, unless a test says otherwise.
RESET, TIMEOUT = 30.0, 60.0
#: What a store may be late or early in the waits that it names.
_SLACK = 0.005


class BreakerWords(StoreSuite):
    """The words; a test of the suite reads as a history."""

    botguard_port = "breakers"
    _named = 0

    def look(self, name: str = "erp") -> BreakerView:
        """The breaker as it is."""
        return self._sound(self.ask(self.store.look, name))

    def open(self, era: int, seconds: float = RESET, name: str = "erp") -> BreakerView:
        """A process has counted failures enough in an era."""
        return self._sound(self.ask(self.store.open, name, era, seconds))

    def admit(
        self, era: int, probe: str = "", *, probes: int = 1, timeout: float = TIMEOUT, name: str = "erp"
    ) -> BreakerView:
        """Ask for a probe, under a new name unless one is given."""
        return self._sound(self.ask(self.store.admit, name, era, probe or self.new_probe(), probes, timeout))

    def settle(
        self, era: int, probe: str, result: ProbeResult, *, probes: int = 1, seconds: float = RESET, name: str = "erp"
    ) -> BreakerView:
        """A probe has ended."""
        return self._sound(self.ask(self.store.settle, name, era, probe, result, probes, seconds))

    def new_probe(self) -> str:
        """A name that no probe has had."""
        self._named += 1
        return f"probe-{self._named}"

    @staticmethod
    def _sound(answer: Any) -> BreakerView:
        must(isinstance(answer, BreakerView), "PORT", f"the answer is a BreakerView, not {type(answer).__name__}")
        view: BreakerView = answer
        must(view.state in ("closed", "open", "half-open"), "PORT", f"{view.state!r} is no state of a breaker")
        must(view.era >= 0, "PORT", f"{view.era!r} is no era")
        must(view.wait >= 0.0, "PORT", f"a wait of {view.wait} s")
        must(not view.granted or view.state == "half-open", "BREAK-01", "only a half-open breaker grants probes")
        return view

    def opened(self, seconds: float = RESET, name: str = "erp") -> int:
        """Open a closed breaker; the era in which it is open."""
        before = self.look(name)
        equal(before.state, "closed", "PORT", "the breaker to open")
        view = self.open(before.era, seconds, name)
        equal(view.state, "open", "BREAK-02", "a closed breaker that is opened in its own era")
        must(view.era > before.era, "BREAK-03", "a change of state begins a greater era")
        return view.era

    def half_open(self, probes: int = 1, timeout: float = TIMEOUT, name: str = "erp") -> tuple[int, str]:
        """Open a closed breaker, wait, and take the first probe: the era and the probe."""
        era, probe = self.opened(name=name), self.new_probe()
        self.elapse(RESET + self.hair)
        view = self.admit(era, probe, probes=probes, timeout=timeout, name=name)
        must(view.granted, "BREAK-01", "the time is over: the first who asks gets a probe")
        must(view.era > era, "BREAK-03", "a change of state begins a greater era")
        return view.era, probe

    def waits(self, view: BreakerView, seconds: float) -> None:
        """Insist on a wait, give and take what passes meanwhile."""
        near = seconds - self.drift - _SLACK <= view.wait <= seconds + _SLACK
        must(near, "BREAK-02", f"the wait is {view.wait} s, not {seconds}")
