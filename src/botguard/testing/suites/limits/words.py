"""What the limit suite's tests are written in: reserve, refund, release, fill, and how much room is left."""

from __future__ import annotations

from botguard.ports.limits import Limit, Reservation
from botguard.testing.suites.base import StoreSuite
from botguard.testing.suites.checks import must

__all__ = ["ALL", "RATES", "LimitWords"]

RATES = ("fixed-window", "moving-window", "sliding-window-counter")
ALL = (*RATES, "concurrent")


class LimitWords(StoreSuite):
    """The words; a test of the suite reads as a history.

    Attributes:
        slack: seconds by which ``retry_after`` may be longer than needed; it is never shorter.
    """

    botguard_port = "limits"
    slack: float = 0.005
    _tokens = 0

    @staticmethod
    def limit(strategy: str, amount: int, window: float = 60.0, tag: str = "") -> Limit:
        """A limit of its own, unless two are given one tag."""
        name = tag or f"{strategy}-{amount}-{window}"
        return Limit(name, amount, window, strategy, "user", name)

    def reserve(self, *limits: Limit, bucket: str = "b") -> Reservation:
        """Reserve one call in the same bucket of each limit."""
        self._tokens += 1
        answer: Reservation = self.ask(self.store.reserve, limits, (bucket,) * len(limits), f"token-{self._tokens}")
        self._sound(answer, limits)
        return answer

    @staticmethod
    def _sound(answer: Reservation, limits: tuple[Limit, ...]) -> None:
        if answer.granted:
            must(
                answer.limit is None and answer.retry_after == 0.0,
                "PORT",
                "a granted call names no limit and no wait",
            )
        else:
            must(answer.limit in limits, "PORT", "a refusal names the limit that refused")
            must(
                answer.retry_after > 0.0,
                "RATE-04",
                f"a refusal says when to come back, not {answer.retry_after}",
            )

    def preview(self, *limits: Limit, bucket: str = "b") -> Reservation:
        """What reserve would say."""
        answer: Reservation = self.ask(self.store.test, limits, (bucket,) * len(limits))
        self._sound(answer, limits)
        return answer

    def refund(self, reservation: Reservation, *limits: Limit, bucket: str = "b") -> None:
        """Take a reservation back."""
        self.ask(self.store.refund, limits, (bucket,) * len(limits), reservation)

    def release(self, reservation: Reservation, *limits: Limit, bucket: str = "b") -> None:
        """Free its slots."""
        self.ask(self.store.release, limits, (bucket,) * len(limits), reservation)

    def room(self, limit: Limit, *, bucket: str = "b", most: int = 50) -> int:
        """How many calls a limit still admits; takes nothing for good."""
        taken: list[Reservation] = []
        while len(taken) < most and (reserved := self.reserve(limit, bucket=bucket)).granted:
            taken.append(reserved)
        for reserved in taken:
            self.refund(reserved, limit, bucket=bucket)
        return len(taken)

    def fill(self, limit: Limit, *, bucket: str = "b") -> list[Reservation]:
        """Use a limit up."""
        taken = []
        while (reserved := self.reserve(limit, bucket=bucket)).granted:
            taken.append(reserved)
            must(len(taken) <= limit.amount, "RATE-01", f"more than {limit.amount} calls were admitted")
        return taken

    def _to_window_start(self, limit: Limit) -> None:
        """Go to where a window of the store begins: a fixed window of the same length ends there."""
        probe = self.limit("fixed-window", 1, limit.window, tag="probe")
        self.reserve(probe)
        self.elapse(self.reserve(probe).retry_after)
